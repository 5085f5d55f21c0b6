-- For each queue: how many tasks may be admitted until its window is full. A queue that is new in `ready` is added first: by the
-- keeper and not by submits, so that nobody's open transaction is waited for.
-- The window counts operations that run, but for those that wait (held, backing off) or whose task is claimed.
create or replace function kser.window_free() returns table (queue text, free integer) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	name_before text := '';
begin
	-- From one queue to the next in the index: not a row of `ready` more than there are queues.
	loop
		select min(r.queue) into name_before from ready r where r.queue > name_before;
		exit when name_before is null;
		insert into queues (name) values (name_before) on conflict do nothing;
	end loop;
	return query
	select q.name, greatest(0, q.window_size
		- (select count(*) from operations o where o.window_queue = q.name and o.started_at is not null and o.finished_at is null and not o.held)
		+ (select count(*) from ready r where r.queue = q.name and r.started)
		+ (select count(*) from claims c join operations o on o.id = c.operation_id where o.window_queue = q.name))::integer
	from queues q;
end
$$;
