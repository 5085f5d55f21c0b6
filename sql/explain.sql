-- Why an operation stands where it stands: what its next step waits for, a row for each fact, in order. No row: there is no such operation.
--
--   code     names the kind of fact; finding: in words; remedy: what would change it, or null
create or replace function kser.explain(operation uuid) returns table (code text, finding text, remedy text) language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	s record;
	task text;
begin
	select * into s from present_state(operation);
	task := format('task %s (%s)', (s.k).position, (s.k).entrypoint);
	if (s.o).finished_at is not null then
		return query select 'ended', format('it is %s since %s%s', (s.o).status, date_trunc('second', (s.o).finished_at), ': ' || (s.o).error),
			case when (s.o).status = 'FAILED' then 'kser retry runs it again from ' || task end;
		return;
	end if;
	return query select 'halted', 'nothing is dispatched: ' || m.halted, 'kser db new-generation' from meta m where (s.o).id is not null and m.halted is not null;
	if (s.o).held then
		return query select 'held', format('it was paused by %s at %s%s', h.actor, date_trunc('second', h.at), ': ' || h.reason), 'kser resume'
		from history h where h.operation_id = operation and h.kind = 'pause' order by h.id desc limit 1;
	end if;
	return query select 'no_orchestrator', n.finding, n.remedy from missing_orchestrator() n where (s.o).id is not null;
	if s.stop is not null then
		return query select 'stopping', format('%s is being ended (%s)', task, s.stop), null::text;
	end if;
	if (s.k).status = 'RUNNING' then
		return query select * from explain_running(s.k, task);
	elsif (s.k).status = 'PENDING' then
		return query select * from explain_waiting(s.o, s.k, task);
	end if;
	return query select 'no_worker', u.finding, u.remedy from unserved_queues() u where u.queue = (s.k).queue;
end
$$;

-- The part about a task that runs: held by a worker, or on its way.
create or replace function kser.explain_running(k kser.tasks, task text) returns table (code text, finding text, remedy text) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	return query
	select 'claimed', format('%s, attempt %s, is held by worker %s since %s, heard of %s s ago', task, k.attempt, c.worker, date_trunc('second', c.claimed_at), round(extract(epoch from t - c.renewed_at))), null::text
	from claims c where c.operation_id = k.operation_id and c.position = k.position and c.attempt = k.attempt;
	if not found then
		return query
		select 'on_its_way', format('%s, attempt %s, was sent to partition %s of queue %s at %s and no worker has claimed it%s%s', task, k.attempt, k.partition, to_json(k.queue), date_trunc('second', k.dispatched_at),
			(select '; workers are at ' || p.committed[k.partition + 1] || ' of ' || p.ends[k.partition + 1] || ' there' from proofs p where p.queue = k.queue),
			(select '; should it be lost, nobody can tell: ' || p.problems[k.partition + 1] from proofs p where p.queue = k.queue)), null::text;
	end if;
end
$$;

-- The part about a task that waits to be started.
create or replace function kser.explain_waiting(o kser.operations, k kser.tasks, task text) returns table (code text, finding text, remedy text) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	due timestamptz;
	ahead bigint;
begin
	select r.due_at into due from ready r where r.queue = k.queue and r.operation_id = o.id and r.attempt = k.attempt limit 1;
	if due is null and not o.held then
		return query select 'stranded', task || ' is next, and nothing would start it', 'kser resume';
	elsif due > t then
		return query select 'not_due', format('%s is started at %s%s', task, date_trunc('second', due), case when k.failures > 0 then format(', after %s failures (the last: %s)', k.failures, coalesce(k.error, k.retcode::text)) end), null::text;
	elsif due is not null then
		select count(*) into ahead from (select from ready r where r.queue = k.queue and (r.priority > o.priority and r.due_at <= t or r.priority = o.priority and r.due_at < due) limit 100000) as before;
		return query select 'due', format('%s is due since %s in queue %s; %s tasks are before it', task, date_trunc('second', due), to_json(k.queue), ahead),
			case when ahead > 0 then 'more workers, or a higher priority' end;
	end if;
end
$$;
