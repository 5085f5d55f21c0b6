-- A worker says which attempts it has in hand, when it claims some and with each heartbeat.
--
--   worker  its incarnation
--   claims  names, [{uuid, op, pos, attempt, gen}]
--   lease   how long a claim lasts without being named; what was renewed within an eighth of it is not written again
--
-- A row for each name that is not, or no longer, to run: the worker is to be told `stop`. All others are held by it now.
-- A claim of another incarnation stands until expire() has judged it. Task rows are waited for up to lock_timeout (55P03: call again).
create or replace function kser.hold(worker text, claims jsonb, lease interval)
returns table (operation_id uuid, "position" integer, uuid uuid, attempt integer, generation bigint)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	of_worker constant text := worker;
	m meta;
	named record;  -- parallel arrays: the names, in order
	fresh record;  -- parallel arrays: attempts that are not in `claims` yet, their task rows locked
	told record;
begin
	select * into m from meta;
	select array_agg(n.operation_id) as operations, array_agg(n.position) as positions, array_agg(n.uuid) as uuids, array_agg(n.attempt) as attempts, array_agg(n.generation) as generations
	into named from names(claims) n;
	-- Task rows before claims, each in order.
	select array_agg(l.operation_id) as operations, array_agg(l.position) as positions into fresh
	from (select n.* from unnest(named.operations, named.positions, named.uuids, named.attempts, named.generations) as n (operation_id, position, uuid, attempt, generation)
			where n.generation = m.generation and not exists (select from claims c where c.operation_id = n.operation_id and c.position = n.position
				and c.uuid = n.uuid and c.attempt = n.attempt) order by n.operation_id, n.position) as n,
		lateral (select k.operation_id, k.position from tasks k where k.operation_id = n.operation_id and k.position = n.position
			and k.status = 'RUNNING' and k.uuid = n.uuid and k.attempt = n.attempt for update) as l;

	if fresh.operations is not null then
		-- Marked (lock_task), so that its result does not pass the claim by.
		update tasks k set mark = k.mark | 2 from unnest(fresh.operations, fresh.positions) as f (operation_id, position)
		where k.operation_id = f.operation_id and k.position = f.position and k.status = 'RUNNING' and k.mark & 2 = 0;
		insert into claims as c (operation_id, position, uuid, attempt, worker, claimed_at, renewed_at, deadline_at)
		select k.operation_id, k.position, k.uuid, k.attempt, of_worker, t, t, t + duration((k.policy -> 'timeout')::jsonb) + interval '5 s'
		from unnest(fresh.operations, fresh.positions) as f (operation_id, position), tasks k
		where k.operation_id = f.operation_id and k.position = f.position and k.status = 'RUNNING'
		on conflict (operation_id, position) do update set uuid = excluded.uuid, attempt = excluded.attempt, worker = excluded.worker, claimed_at = excluded.claimed_at,
			renewed_at = excluded.renewed_at, deadline_at = excluded.deadline_at
		where c.attempt <> excluded.attempt or c.uuid <> excluded.uuid;
	end if;

	update claims c set renewed_at = t
	from unnest(named.operations, named.positions, named.uuids, named.attempts, named.generations) as n (operation_id, position, uuid, attempt, generation)
	join tasks k on k.operation_id = n.operation_id and k.position = n.position
	where c.operation_id = n.operation_id and c.position = n.position and c.uuid = n.uuid and c.attempt = n.attempt and c.worker = of_worker
		and n.generation = m.generation and c.renewed_at not between t - lease / 8 and t and k.status = 'RUNNING' and k.uuid = n.uuid and k.attempt = n.attempt;

	-- Fresh statements: what is this worker's now. Told to stop, but not refused, is also what somebody wants ended.
	-- (`limit` keeps the planner to looking up each name.)
	select array_agg(n.ordinality) as inputs, count(*) filter (where k.mark is null) as refused into told
	from unnest(named.operations, named.positions, named.uuids, named.attempts, named.generations) with ordinality as n (operation_id, position, uuid, attempt, generation)
	left join lateral (select k.mark from claims c join tasks k on k.operation_id = c.operation_id and k.position = c.position
		where c.operation_id = n.operation_id and c.position = n.position and c.uuid = n.uuid and c.attempt = n.attempt and c.worker = of_worker and n.generation = m.generation
			and k.status = 'RUNNING' and k.uuid = n.uuid and k.attempt = n.attempt limit 1) as k on true
	where k.mark is null or k.mark & 1 <> 0;
	perform count_up('claims_refused', told.refused);
	return query
	select n.operation_id, n.position, n.uuid, n.attempt, n.generation
	from unnest(named.operations, named.positions, named.uuids, named.attempts, named.generations) with ordinality as n (operation_id, position, uuid, attempt, generation)
	where n.ordinality = any (told.inputs);
end
$$;
