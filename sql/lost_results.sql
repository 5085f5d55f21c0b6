-- The part of apply_results for results that ended nothing: says why, keeps what an operator may want to see, and gives the
-- successor's dispatch once more where the very record that started it came again (the process that applied it may have
-- died before it sent it). Another execution's result never does: one duplicate would double every later step.
create or replace function kser.lost_results(m kser.meta, winners integer[], got integer[], uuids uuid[], operations uuid[], positions integer[], attempts integer[],
	generations bigint[], epochs bigint[], answers bigint[], retcodes integer[], errors text[], workers text[], retvals json[])
returns table (input integer, verdict text, freed text, ended_partition integer, uuid uuid, operation_id uuid, "position" integer, attempt integer, generation bigint,
	epoch bigint, partition integer, entrypoint text, params json, metadata json, deadline_ms bigint, limit_ms bigint, start_by_ms bigint, flags integer, queue text)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	lost record;
begin
	for lost in
		select r.input::integer, r.operation, r.position, r.uuid, r.attempt, r.answer, r.retcode, r.error, r.worker, r.retval, case
			when r.generation <> m.generation then 'stale'
			when r.epoch > m.epoch then 'ahead'
			when k.operation_id is null then 'unknown'
			when got is not null and not r.input = any (got) then 'busy'
			when k.uuid <> r.uuid then 'unknown'
			when k.answer = r.answer and k.attempt = r.attempt and k.status in ('SUCCESS', 'FAILED') then 'repeated'
			else 'late' end as verdict
		from unnest(operations, positions, uuids, attempts, generations, epochs, answers, retcodes, errors, workers, retvals)
			with ordinality as r (operation, position, uuid, attempt, generation, epoch, answer, retcode, error, worker, retval, input)
		left join tasks k on k.operation_id = r.operation and k.position = r.position
		where not r.input = any (winners)
	loop
		if lost.verdict = 'late' then
			insert into history (operation_id, position, uuid, attempt, kind, worker, retcode, error, detail)
			values (lost.operation, lost.position, lost.uuid, lost.attempt, 'late', lost.worker, lost.retcode, lost.error, json_build_object('retval', lost.retval))
			on conflict (uuid, attempt) where kind = 'late' do nothing;
		end if;
		if lost.verdict in ('late', 'stale', 'unknown', 'ahead') then
			insert into counters (name, value) values ('replies_' || lost.verdict, 1) on conflict (name) do update set value = counters.value + 1;
		end if;
		if lost.verdict = 'repeated' then
			-- The successor's row is waited for by nobody: somebody may hold it in an open transaction.
			perform from tasks n where n.operation_id = lost.operation and n.position = lost.position + 1 for update skip locked;
			if not found and exists (select from tasks n where n.operation_id = lost.operation and n.position = lost.position + 1) then
				lost.verdict := 'busy';
			end if;
		end if;
		if lost.verdict = 'repeated' then
			return query
			with again as (
				update tasks n set epoch = m.epoch
				from tasks p, operations o
				where p.operation_id = lost.operation and p.position = lost.position and p.status = 'SUCCESS' and p.uuid = lost.uuid and p.attempt = lost.attempt and p.answer = lost.answer
					and n.operation_id = p.operation_id and n.position = p.position + 1 and n.status = 'RUNNING' and n.dispatched_at = p.finished_at and n.mark & 1 = 0 and m.halted is null
					and not exists (select from claims c where c.operation_id = n.operation_id and c.position = n.position and c.attempt = n.attempt)
					and o.id = n.operation_id
				returning n.*, o.metadata as operation_metadata, o.deadline_at
			)
			select lost.input, 'repeated', null::text, null::integer, a.uuid, a.operation_id, a.position, a.attempt, m.generation, a.epoch, a.partition, a.entrypoint, a.params,
				merged_metadata(a.operation_metadata, a.metadata), unix_ms(a.deadline_at), limit_ms(a.policy), start_by_ms(a.dispatched_at, a.policy), dispatch_flags(a.crashes, a.policy), a.queue
			from again a;
			continue when found;
		end if;
		return query select lost.input, lost.verdict, null::text, null::integer, null::uuid, null::uuid, null::integer, null::integer, null::bigint, null::bigint,
			null::integer, null::text, null::json, null::json, null::bigint, null::bigint, null::bigint, null::integer, null::text;
	end loop;
end
$$;
