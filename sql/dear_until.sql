-- Where rows that nobody needs any more cannot be cleaned up, since somebody keeps a snapshot, a look that goes past them is made less often: it has a twentieth
-- of the time. Until when what it has found is to do, ten seconds at most; null: it did not take long, or not because of that.
--
--   began     when the look began
--   of_table  whose rows it went past
create or replace function kser.dear_until(began timestamptz, of_table regclass) returns timestamptz language plpgsql volatile as $$
declare
	now_is constant timestamptz := clock_timestamp();
begin
	if now_is - began > '5 ms' and pg_stat_get_dead_tuples(of_table) > 2000 then
		return now_is + least('10 s', 20 * (now_is - began));
	end if;
	return null;
end
$$;
