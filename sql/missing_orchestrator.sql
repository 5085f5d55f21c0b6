-- A row when no orchestrator has given a sign of life for 6 s.
create or replace function kser.missing_orchestrator() returns table (finding text, remedy text) language sql stable
set search_path = pg_catalog, kser, pg_temp as $$
	select 'no orchestrator runs', 'start kser-orchestrator; its log says why it does not reach the database'
	where not exists (select from instances i where i.beat_at > clock_timestamp() - interval '6 s')
$$;
