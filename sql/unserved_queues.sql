-- Queues that have work, due or on its way, and no worker that serves them.
create or replace function kser.unserved_queues() returns table (queue text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	return query
	with recursive waiting (queue) as (
		(select min(r.queue) from ready r)
		union all
		select (select min(r.queue) from ready r where r.queue > w.queue) from waiting w where w.queue is not null
	), wanted as (
		select w.queue from waiting w where w.queue is not null and exists (select from ready r where r.queue = w.queue and r.due_at <= t)
		union
		select o.window_queue from operations o where o.started_at is not null and o.finished_at is null and not o.held
	)
	select w.queue, format('queue %s has work and no worker that serves it', to_json(w.queue)), format('start kser-worker%s; kser worker ls --all tells who was there', nullif(' --queue ' || w.queue, ' --queue '))
	from wanted w where not exists (select from present_workers() k where k.queue = w.queue) order by w.queue;
end
$$;
