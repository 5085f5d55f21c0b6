-- The tasks of a queue that run without a claim of their attempt, of operations that are not held. Not locked: look again.
-- Goes over the running operations, from each to its current task, and over nothing that is finished (`limit` keeps the planner to that order: where many
-- run it takes a walk over all tasks for the cheaper one).
create or replace function kser.running_tasks(queue_name text) returns table (operation_id uuid, "position" integer, attempt integer, epoch bigint, partition integer,
	dispatched_at timestamptz, policy json) language sql stable set search_path = pg_catalog, kser, pg_temp as $$
	select k.operation_id, k.position, k.attempt, k.epoch, k.partition, k.dispatched_at, k.policy
	from operations o,
		lateral (select coalesce(
			(select s.position from tasks s where s.operation_id = o.id and s.position < 8 and s.status <> 'SUCCESS' order by s.position limit 1),
			current_position(o.id)) as at) as c,
		lateral (select * from tasks s where s.operation_id = o.id and s.position = c.at and s.status = 'RUNNING' limit 1) as k
	where o.window_queue = queue_name and o.started_at is not null and o.finished_at is null and not o.held and k.queue = queue_name
		and not exists (select from claims h where h.operation_id = k.operation_id and h.position = k.position and h.attempt = k.attempt)
$$;

-- Whether an attempt that nobody has claimed was to start some seconds ago at the latest (policy.start_within): a worker that has
-- it says so itself.
create or replace function kser.is_unstarted(t timestamptz, dispatched_at timestamptz, policy json) returns boolean language sql stable parallel safe
return policy is not null and kser.unix_ms(t) > kser.start_by_ms(dispatched_at, policy) + 5000;

-- Fails what was not to start any more and was taken by nobody. How many.
create or replace function kser.fail_unstarted(queue_name text) returns integer language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	t constant timestamptz := clock_timestamp();
	late record;
	failed integer := 0;
begin
	for late in
		select l.* from (select r.operation_id, r.position, r.attempt from running_tasks(queue_name) r
				where is_unstarted(t, r.dispatched_at, r.policy) order by r.operation_id, r.position) as r,
			lateral (select k.operation_id, k.position from tasks k where k.operation_id = r.operation_id and k.position = r.position
				and k.status = 'RUNNING' and k.attempt = r.attempt for update skip locked) as l
	loop
		-- A fresh statement: a claim may have come.
		if not exists (select from claims c where c.operation_id = late.operation_id and c.position = late.position) then
			perform time_out(t, late.operation_id, late.position, 'was not started within the time that its policy gives');
			failed := failed + 1;
		end if;
	end loop;
	return failed;
end
$$;
