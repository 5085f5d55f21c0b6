-- Moves due tasks of one queue from `ready` to RUNNING, by priority, then due time; the caller dispatches what comes back
-- once this has committed.
--
--   queue_name  the queue
--   targets     one task partition for each place: at most so many are admitted
--
-- A row for each dispatch; `waited_ms` since it was due. Rows of `ready` whose task has moved on, is held, ended or was deleted are only deleted. Locked rows are
-- left for the next call: nobody is waited for. While the installation is halted nothing is admitted.
create or replace function kser.admit(queue_name text, targets integer[])
returns table (uuid uuid, operation_id uuid, "position" integer, attempt integer, generation bigint, epoch bigint, partition integer,
	entrypoint text, params json, metadata json, result json, deadline_ms bigint, limit_ms bigint, start_by_ms bigint, flags integer, waited_ms bigint)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	many constant integer := 32; -- enough to make a bad plan dear
	t constant timestamptz := clock_timestamp();
	m meta;
	rows tid[];
	locked record;
begin
	select * into m from meta;
	if m.halted is not null then
		return;
	end if;
	rows := due(queue_name, t, cardinality(targets));
	if rows = '{}' then
		return;
	elsif cardinality(rows) >= many then
		perform count_grown();
	end if;

	select array_agg(r.ctid) as rows, array_agg(k.operation_id) as operations, array_agg(k.position) as positions, array_agg(r.attempt) as attempts, array_agg(r.due_at) as dues into locked
	from ready r, lateral (select k.operation_id, k.position from tasks k where k.operation_id = r.operation_id and k.position = r.position for update skip locked) as k
	where r.ctid = any (rows);

	-- A fresh statement: sees what a verb committed before the task rows were ours.
	return query
	with started as (
		update tasks k set status = 'RUNNING', attempt = k.attempt + 1, epoch = m.epoch, partition = targets[d.place], dispatched_at = t
		from unnest(locked.operations, locked.positions, locked.attempts, locked.dues) with ordinality as d (operation_id, position, attempt, due_at, place), operations o
		where k.operation_id = d.operation_id and k.position = d.position and k.attempt = d.attempt and k.status = 'PENDING'
			and o.id = d.operation_id and o.status in ('PENDING', 'RUNNING') and not o.held
		returning k.uuid, k.operation_id, k.position, k.attempt, k.partition, k.entrypoint, k.params, k.queue, k.policy, k.crashes,
			k.metadata, o.metadata as operation_metadata, o.deadline_at, o.status as operation_status, o.window_queue, d.due_at
	), running as (
		update operations o set status = 'RUNNING', started_at = coalesce(o.started_at, t), window_queue = s.queue
		from started s
		where o.id = s.operation_id and (s.operation_status = 'PENDING' or s.window_queue <> s.queue)
	)
	select s.uuid, s.operation_id, s.position, s.attempt, m.generation, m.epoch, s.partition, s.entrypoint, s.params,
		merged_metadata(s.operation_metadata, s.metadata), case when s.position > 0 then accumulated(s.operation_id, s.position) end, unix_ms(s.deadline_at), limit_ms(s.policy), start_by_ms(t, s.policy), dispatch_flags(s.crashes, s.policy),
		(extract(epoch from t - s.due_at) * 1000)::bigint
	from started s;

	delete from ready r where r.ctid = any (locked.rows);
	if coalesce(cardinality(locked.rows), 0) < cardinality(rows) then
		-- Of an operation that was deleted.
		delete from ready r where r.ctid = any (rows) and not exists (select from tasks k where k.operation_id = r.operation_id and k.position = r.position);
	end if;
end
$$;
