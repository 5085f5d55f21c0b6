-- A worker hands attempts back: names with a reason, unstarted, busy (it waits 5 s) or stopped. They are started again with
-- another attempt, no failure is counted; what somebody wanted ended is ended.
-- A row for each queue in whose window places became free. What is not this attempt's any more changes nothing and is counted.
create or replace function kser.release(worker text, tasks jsonb) returns table (queue text, freed integer)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	of_worker constant text := worker;
	list constant jsonb := tasks;
	m meta;
	locked record;  -- parallel arrays: what is current, its task row locked
	back record;
	released integer := 0;
	unclaimed text[] := '{}';
begin
	select * into m from meta;
	-- All task rows before anything else, in order.
	select array_agg(l.operation_id) as operations, array_agg(l.position) as positions, array_agg(n.reason) as reasons into locked
	from (select n.* from names(list) n where n.generation = m.generation order by n.operation_id, n.position) as n,
		lateral (select k.operation_id, k.position from tasks k where k.operation_id = n.operation_id and k.position = n.position
			and k.status = 'RUNNING' and k.uuid = n.uuid and k.attempt = n.attempt for update) as l;
	for back in
		select k.operation_id, k.position, k.uuid, k.attempt, k.queue, w.reason, c.worker from unnest(locked.operations, locked.positions, locked.reasons) as w (operation_id, position, reason)
		join tasks k on k.operation_id = w.operation_id and k.position = w.position
		left join claims c on c.operation_id = k.operation_id and c.position = k.position and c.attempt = k.attempt
	loop
		continue when back.worker <> of_worker; -- another incarnation's, which runs it
		released := released + 1;
		if back.worker is null then
			unclaimed := unclaimed || back.queue;
		end if;
		if not end_stopped(t, back.operation_id, back.position, null) then
			perform put_back(t, back.operation_id, back.position, case when back.reason = 'busy' then interval '5 s' else '0' end);
			insert into history (at, operation_id, position, uuid, attempt, kind, reason, worker)
			values (t, back.operation_id, back.position, back.uuid, back.attempt, 'released', left(back.reason, 100), of_worker);
		end if;
		-- It runs nowhere any more: as good as a result for who wants to start it again.
		update tasks k set answer = -1 where k.operation_id = back.operation_id and k.position = back.position;
	end loop;
	if released > 0 then
		perform wake();
	end if;
	-- What ended without its worker's word is over now.
	insert into history (operation_id, position, uuid, attempt, kind, reason, worker)
	select n.operation_id, n.position, n.uuid, n.attempt, 'late', 'released', of_worker
	from names(list) n join tasks k on k.operation_id = n.operation_id and k.position = n.position and k.uuid = n.uuid and k.attempt = n.attempt
	where n.generation = m.generation and k.status = 'FAILED' and k.answer is null
	on conflict (uuid, attempt) where kind = 'late' do nothing;
	perform count_up('releases_late', (select count(*) from names(list)) - released);
	return query select u, count(*)::integer from unnest(unclaimed) as u group by u;
end
$$;
