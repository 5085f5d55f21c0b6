-- Ends what is past its time: operations past their deadline, attempts that somebody wanted ended five seconds ago. How many were ended or asked to end. Locked rows are left for the next call.
create or replace function kser.overdue() returns integer language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	grace constant interval := '5 s';     -- for a worker to end what it was asked to
	at_most constant integer := 1000;
	t constant timestamptz := clock_timestamp();
	found_operation uuid;
	late record;
	changed integer := 0;
begin
	-- Of an operation that was deleted.
	delete from stops s where s.asked_at < t - grace and not exists (select from tasks k where k.operation_id = s.operation_id and k.position = s.position);
	for late in
		select l.* from (select s.operation_id, s.position from stops s where s.asked_at < t - grace order by s.operation_id, s.position limit at_most) as s,
			lateral (select k.operation_id, k.position from tasks k where k.operation_id = s.operation_id and k.position = s.position for update skip locked) as l
	loop
		changed := changed + end_stopped(t, late.operation_id, late.position, null)::integer;
	end loop;
	for found_operation in
		select o.id from operations o where o.deadline_at < t and o.finished_at is null and not exists (select from stops s where s.operation_id = o.id)
		order by o.deadline_at limit at_most
	loop
		changed := changed + end_overdue(t, found_operation)::integer;
	end loop;
	return changed;
end
$$;

-- An operation past its deadline: FAILED with Timeout; while its task runs, the worker is asked to end it first. One without any task to end is
-- what somebody did by hand (end_without_task); left alone, it would be found again each time.
create or replace function kser.end_overdue(t timestamptz, operation uuid) returns boolean language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	why constant text := 'the deadline of the operation has passed';
	at constant integer := current_position(operation);
	task tasks;
begin
	if at is null then
		perform from operations o where o.id = operation for update skip locked;
	else
		perform from tasks k where k.operation_id = operation and k.position = at for update skip locked;
	end if;
	if not found then
		return false;
	end if;
	-- Fresh statements: still the current one, and the operation unfinished.
	if current_position(operation) is distinct from at or not exists (select from operations o where o.id = operation and o.finished_at is null and o.deadline_at < t) then
		return false;
	end if;
	if at is null then
		perform end_without_task(t, operation, 'Timeout', 504, why);
		return true;
	end if;
	select * into task from tasks k where k.operation_id = operation and k.position = at;
	insert into stops (operation_id, position, uuid, attempt, queue, asked_at, error, retcode, reason)
	values (operation, at, task.uuid, task.attempt, task.queue, t, 'Timeout', 504, why) on conflict do nothing;
	if task.status = 'RUNNING' then
		update tasks k set mark = k.mark | 1 where k.operation_id = operation and k.position = at;
		return found;
	end if;
	return end_stopped(t, operation, at, null);
end
$$;

-- The attempts that workers are to end.
create or replace function kser.stops_open() returns table (operation_id uuid, "position" integer, uuid uuid, attempt integer, generation bigint) language sql volatile
set search_path = pg_catalog, kser, pg_temp as $$
	select s.operation_id, s.position, s.uuid, s.attempt, m.generation from stops s, meta m order by s.asked_at limit 10000
$$;
