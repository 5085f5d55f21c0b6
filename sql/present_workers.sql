-- Workers that are there: not left, and heard of in the last 30 s.
create or replace function kser.present_workers() returns setof kser.workers language sql stable
set search_path = pg_catalog, kser, pg_temp as $$
	select * from workers w where w.left_at is null and w.seen_at > clock_timestamp() - interval '30 s'
$$;
