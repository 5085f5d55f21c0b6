-- Begins a round of the proof of loss: raises the epoch.
--
--   epoch  of the round
--   floor  below it every dispatch of every registered orchestrator is acknowledged; less than `epoch`
--   at     the time
--
-- An orchestrator that registers later sees this epoch or a later one. One that is registered cannot have told of this epoch yet:
-- that the epoch is not committed when the floors are read does no harm.
create or replace function kser.round_begin() returns table (epoch bigint, floor bigint, at timestamptz) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	n bigint;
begin
	update meta set epoch = meta.epoch + 1 returning meta.epoch into n;
	return query select n, least(min(i.floor), n - 1), clock_timestamp() from instances i;
end
$$;
