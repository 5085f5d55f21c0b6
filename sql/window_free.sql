-- For each queue: how many tasks may be admitted until its window is full. A queue that is new in `ready` is added first: by the
-- keeper and not by submits, so that nobody's open transaction is waited for.
-- The window counts operations that run, but for those that wait (held, backing off) or whose task is claimed.
--
--   full_partitions  of the queue's task topic: their worker has no free slot while another one has some
--   spare            free slots of all workers, when a worker has tasks that wait behind full slots; else 0
create or replace function kser.window_free() returns table (queue text, free integer, full_partitions integer[], spare integer) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	silence constant interval := '25 s';  -- a worker without claims is heard of every 10 s
	t constant timestamptz := clock_timestamp();
	name_before text := '';
begin
	-- From one queue to the next in the index: not a row of `ready` more than there are queues.
	loop
		select min(r.queue) into name_before from ready r where r.queue > name_before;
		exit when name_before is null;
		insert into queues (name) values (name_before) on conflict do nothing;
	end loop;
	return query
	with serving as (
		select w.queue, w.free > 0 as has_free, w.free, w.waiting, w.partitions from workers w where w.seen_at > t - silence and w.left_at is null
	), waiting as materialized (
		-- Each operation is looked up by its id (`limit` keeps the planner to that).
		select o.window_queue, count(*) as number from ready r,
			lateral (select o.window_queue from operations o where o.id = r.operation_id and o.status = 'RUNNING' and not o.held limit 1) as o
		where r.started group by o.window_queue
	), claimed as materialized (
		select o.window_queue, count(*) as number from claims c,
			lateral (select o.window_queue from operations o where o.id = c.operation_id and o.status = 'RUNNING' and not o.held limit 1) as o
		group by o.window_queue
	)
	select q.name, least(q.window_size, greatest(0, q.window_size
		- (select count(*) from operations o where o.window_queue = q.name and o.started_at is not null and o.finished_at is null and not o.held)
		+ coalesce((select w.number from waiting w where w.window_queue = q.name), 0) + coalesce((select c.number from claimed c where c.window_queue = q.name), 0)))::integer,
		array(select distinct p from serving s, unnest(s.partitions) as p where s.queue = q.name and not s.has_free
			and exists (select from serving other where other.queue = q.name and other.has_free)
			and not exists (select from serving other where other.queue = q.name and other.has_free and p = any (other.partitions)) order by p),
		case when exists (select from serving s where s.queue = q.name and s.waiting > 0) then coalesce((select sum(s.free) from serving s where s.queue = q.name), 0) else 0 end::integer
	from queues q;
end
$$;
