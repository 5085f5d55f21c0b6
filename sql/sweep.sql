-- Deletes what has expired, a little at a time; the keeper calls it every few seconds. How much it was.
create or replace function kser.sweep(at_most integer) returns integer language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	deleted integer;
begin
	delete from keys k where k.ctid = any (array(select e.ctid from keys e where e.until < clock_timestamp() order by e.until limit at_most for update skip locked));
	get diagnostics deleted = row_count;
	return deleted;
end
$$;
