-- The part of doctor about the orchestrators, their proofs, the queues and the dead letters. patience: how long something may be on its way.
create or replace function kser.doctor_engine(patience interval) returns table (severity text, code text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	in_work constant boolean := exists (select from ready r where r.due_at <= t) or exists (select from operations o where o.started_at is not null and o.finished_at is null and not o.held);
begin
	return query
	select 'error', 'halted', 'nothing is dispatched: ' || m.halted, 'kser db new-generation --reason TEXT, once it is clear that the database is the right one'
	from meta m where m.halted is not null;

	return query select case when in_work then 'error' else 'warning' end, 'no_orchestrator', n.finding || case when in_work then ', and there is work for one' else '' end, n.remedy
	from missing_orchestrator() n;
	if not found and not exists (select from instances i where i.keeper_until > t) then
		return query select 'warning', 'no_keeper', 'no orchestrator has the keeper''s role: nothing is rescued', 'if it stays for more than a few seconds: their logs';
	end if;
	return query
	select 'warning', 'instance_silent', format('orchestrator %s has given no sign of life since %s', i.name, date_trunc('second', i.beat_at)), 'is it frozen or cut off? The keeper removes it after its silence-limit'
	from instances i where i.beat_at < t - greatest(patience, interval '6 s') order by i.beat_at;

	return query
	select 'warning', 'no_proof', format('queue %s, partitions %s: a lost task would not be noticed: %s (since %s)', to_json(p.queue), string_agg((n - 1)::text, ', ' order by n), p.problems[n], date_trunc('second', min(p.since[n]))),
		'see the cause; no proof is needed while nothing is lost'
	from proofs p, generate_subscripts(p.problems, 1) as n
	-- A queue that was used once keeps its last problem: rounds look only while something runs.
	where p.problems[n] is not null and exists (select from running_tasks(p.queue)) group by p.queue, p.problems[n] order by 3;

	return query
	select 'warning', 'rounds_stopped', 'tasks run, and the last look for lost ones was ' || coalesce(date_trunc('second', max(p.looked_at))::text, 'never'), 'is Kafka reachable for the orchestrator that is keeper? Its log'
	from proofs p
	having coalesce(max(p.looked_at), '-infinity') < t - patience
		and exists (select from operations o, tasks k where o.started_at is not null and o.finished_at is null and not o.held and k.operation_id = o.id and k.status = 'RUNNING' and k.dispatched_at < t - patience);

	return query select * from doctor_queues();
	return query
	select 'warning', 'dead_letters', format('%s records could not be used and wait for somebody, the last: %s', count(*), left((array_agg(d.reason order by d.id desc))[1], 200)), 'kser dead ls, then redrive or drop them'
	from dead_letters d where d.redrive_at is null having count(*) > 0;
	return query
	select 'warning', 'redrive_stuck', format('%s dead letters are to be sent again since %s', count(*), date_trunc('second', min(d.redrive_at))), 'is an orchestrator keeper? Its log'
	from dead_letters d where d.redrive_at < t - patience having count(*) > 0;
end
$$;

-- The part about queues: full backlogs, work that nobody serves, workers that differ.
create or replace function kser.doctor_queues() returns table (severity text, code text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
begin
	return query
	select case when q.is_full then 'error' else 'warning' end, case when q.is_full then 'backlog_full' else 'backlog_high' end,
		format('queue %s: %s of at most %s tasks wait%s', to_json(q.name), least(q.backlog, q.backlog_max), q.backlog_max, case when q.is_full then '; submits are refused' end),
		'more workers, or raise kser.queues.backlog_max'
	from queues q where q.is_full or q.backlog > q.backlog_max * 0.8 order by q.name;

	return query select 'error', 'no_worker', u.finding, u.remedy from unserved_queues() u;

	-- A task comes to any worker of its queue, and fails at one that has not its entrypoint. Who has told none yet is left out.
	return query
	with present as (
		select w.queue, w.incarnation, w.entrypoints from present_workers() w where w.entrypoints <> '{}'
	), lacking as (
		select p.queue, p.incarnation, array(select distinct e from present other, unnest(other.entrypoints) as e where other.queue = p.queue and e <> all (p.entrypoints) order by e) as names from present p
	)
	select 'warning', 'entrypoints_differ', format('queue %s: %s does not serve %s, which other workers of that queue do: such tasks fail there',
			to_json(l.queue), min(l.incarnation) || case when count(*) > 1 then format(' (and %s more)', count(*) - 1) else '' end, left(array_to_string(l.names, ', '), 200)),
		'all workers of a queue serve the same entrypoints: give it these, or a queue of its own'
	from lacking l where l.names <> '{}' group by l.queue, l.names order by 3;
end
$$;
