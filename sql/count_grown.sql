-- Has the server count (`analyze`) the tables that have grown to twice the pages of its last count, while they are small; returns how many it did.
--
-- Sessions of the engine keep their plans. One made when a table was counted as empty, or nearly (all was purged, or little has run yet), may begin with all of
-- that table instead of looking up what it is given, and autovacuum comes a minute later, when the table may have a hundred thousand rows. Counting
-- drops such plans. From some hundred rows on no plan begins so. A table that somebody has locked (`vacuum full`) is left for the next time, and those behind it.
create or replace function kser.count_grown() returns integer language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp
set client_min_messages = error as $$ -- that a table is passed over is no news
declare
	small constant integer := 128; -- pages
	grown regclass;
	counted integer := 0;
begin
	for grown in
		select c.oid from unnest('{operations, tasks, ready, claims, keys, stops}'::text[]) as t (name) join pg_class c on c.oid = ('kser.' || t.name)::regclass
		where c.relpages < small and pg_relation_size(c.oid) / current_setting('block_size')::integer >= 2 * greatest(c.relpages, 2)
	loop
		execute format('analyze (skip_locked) %s', grown);
		counted := counted + 1;
	end loop;
	return counted;
exception when lock_not_available then
	return 0;
end
$$;
