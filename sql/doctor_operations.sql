-- The part of doctor about operations: each that has not ended has exactly one reason to go on: a row in `ready` for its current task, that
-- task is RUNNING, or it is held. Looks at all of them, in one snapshot.
create or replace function kser.doctor_operations() returns table (severity text, code text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
begin
	return query
	with open_ready as (
		select r.operation_id, r.position, r.attempt, count(*) as rows from ready r group by 1, 2, 3
	), judged as (
		select o.id, case
				when o.status in ('SUCCESS', 'FAILED') or o.finished_at is not null then 'status_and_times'
				when k.position is null or k.status = 'FAILED' then 'not_ended'
				when k.status = 'RUNNING' and (o.status = 'PENDING' or o.started_at is null) then 'not_started'
				when k.status = 'RUNNING' and r.rows > 0 then 'running_and_ready'
				when r.rows > 1 then 'ready_twice'
				when k.status = 'PENDING' and not o.held and r.rows is null and m.halted is null then 'stranded'
			end as code
		from meta m, operations o
		left join lateral (select k.position, k.status, k.attempt from tasks k where k.operation_id = o.id and k.status <> 'SUCCESS' order by k.position limit 1) as k on true
		left join open_ready r on r.operation_id = o.id and r.position = k.position and r.attempt = k.attempt
		where o.status in ('PENDING', 'RUNNING') or o.finished_at is null
	), counted as (
		select j.code, count(*) as number, (array_agg(j.id order by j.id))[1:3] as examples from judged j where j.code is not null group by 1
	)
	select w.severity, c.code, format('%s operation%s %s: %s%s', c.number, case when c.number > 1 then 's' end, w.finding, array_to_string(c.examples, ', '), case when c.number > 3 then ' ...' end), w.remedy
	from counted c join (values
		('stranded', 'error', 'with nothing that would let it go on (no row in ready, no task running, not held)', 'kser resume ID'),
		('not_ended', 'error', 'not ended though its tasks have', 'report it; kser resume ID ends one whose tasks all succeeded, kser cancel ID any'),
		('not_started', 'error', 'PENDING though a task of it runs', 'report it; kser show ID'),
		('status_and_times', 'error', 'whose status and time of its end contradict each other', 'report it; kser show ID'),
		('running_and_ready', 'warning', 'with a row in ready for the attempt that runs', 'none: it is deleted when it is due'),
		('ready_twice', 'warning', 'with more than one row in ready', 'none: only one of them starts the task')
	) as w (code, severity, finding, remedy) using (code);
end
$$;
