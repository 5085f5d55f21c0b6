-- For each queue: how many tasks may be admitted until its window is full, and whether a row is waiting for a place.
-- The window counts operations that run, but for those that wait (held, backing off) or whose task is claimed.
create or replace function kser.window_free() returns table (queue text, free integer, partitions integer) language sql stable
set search_path = pg_catalog, kser, pg_temp as $$
	select q.name, greatest(0, q.window_size
		- (select count(*) from operations o where o.window_queue = q.name and o.started_at is not null and o.finished_at is null and not o.held)
		+ (select count(*) from ready r where r.queue = q.name and r.started)
		+ (select count(*) from claims c join operations o on o.id = c.operation_id where o.window_queue = q.name))::integer, q.partitions
	from queues q
$$;
