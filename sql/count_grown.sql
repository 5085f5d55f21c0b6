-- Has the server count (`analyze`: the planner's statistics) small tables that have grown to twice what its last count found.
--
-- Sessions of the engine keep their plans. One made when a table was counted as empty, or nearly (all was purged, or little has run yet), may begin with all of
-- that table instead of looking up what it is given, and autovacuum may come much later, when the table has a hundred thousand rows. Counting
-- drops such plans. From some hundred rows on no plan begins so.
--
-- Pages tell at once, but not all: a count sees the pages of a submit that is open and not its rows, and a purge leaves pages that are filled again. Rows are
-- told some seconds late. A table that somebody has locked as a whole (`vacuum full`) is left for the next time. A session looks ten times a second at most: an
-- admission under load asks more often, and a look costs as much as the admission of twenty tasks.
create or replace function kser.count_grown() returns void language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp
set lock_timeout = '1ms' set client_min_messages = error as $$ -- that `analyze` passes over a table is no news
declare
	few_pages constant integer := 128;
	few_rows constant integer := 2000;
	now_is constant timestamptz := clock_timestamp();
	looked_at constant timestamptz := nullif(current_setting('kser.growth_looked_at', true), '');
	found_table record;
begin
	if now_is between looked_at and looked_at + interval '100 ms' then
		return;
	end if;
	perform set_config('kser.growth_looked_at', now_is::text, false);
	for found_table in select c.oid::regclass as name, c.relpages as pages, c.reltuples as rows
		from unnest('{operations, tasks, ready, claims, keys, stops}'::text[]) as t (name) join pg_class c on c.oid = ('kser.' || t.name)::regclass
		where c.relpages < few_pages or c.reltuples < few_rows
	loop
		begin
			if found_table.pages < few_pages and pg_relation_size(found_table.name) / current_setting('block_size')::integer >= 2 * greatest(found_table.pages, 2)
					or found_table.rows < few_rows and pg_stat_get_live_tuples(found_table.name) >= 2 * greatest(found_table.rows, 250) then
				execute format('analyze (skip_locked) %s', found_table.name);
			end if;
		exception when lock_not_available then
			null;
		end;
	end loop;
end
$$;
