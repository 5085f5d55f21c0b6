-- Counts what waits in each queue that has a limit, up to one more than the limit; a queue beyond it takes no submits until the
-- next count finds it shorter. The keeper calls it every ten seconds.
create or replace function kser.measure_backlog() returns void language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	queue_name text;
	counted integer;
	most integer;
begin
	for queue_name, most in select q.name, q.backlog_max from queues q loop
		counted := case when most is null then 0 else (select count(*) from (select from ready r where r.queue = queue_name limit most + 1) as waiting) end;
		update queues q set backlog = counted, is_full = counted > q.backlog_max is true
		where q.name = queue_name and (q.backlog <> counted or q.is_full <> (counted > q.backlog_max is true));
	end loop;
end
$$;
