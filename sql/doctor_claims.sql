-- The part of doctor about what workers hold: claims, stops. patience: how long something may be on its way.
create or replace function kser.doctor_claims(patience interval) returns table (severity text, code text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	return query
	select 'warning', 'claims_orphaned', format('%s claims of attempts that do not run, the first of worker %s for %s', count(*), min(c.worker), min(c.operation_id::text)),
		'if it stays: the keeper (an orchestrator) should have removed them'
	from claims c left join tasks k on k.operation_id = c.operation_id and k.position = c.position and k.uuid = c.uuid and k.attempt = c.attempt and k.status = 'RUNNING'
	where k.operation_id is null and c.renewed_at < t - patience having count(*) > 0;

	return query
	select 'warning', 'claims_silent', format('%s claims not renewed for longer than %s, by worker %s for one', count(*), patience, min(c.worker)),
		'is an orchestrator keeper, and does it read the replies (group lag)?'
	from claims c join tasks k on k.operation_id = c.operation_id and k.position = c.position and k.attempt = c.attempt and k.status = 'RUNNING'
	where c.renewed_at < t - patience having count(*) > 0;

	return query
	select 'warning', 'stops_stuck', format('%s attempts asked to stop longer than %s ago still run, the first of %s', count(*), patience, min(s.operation_id::text)),
		'is an orchestrator keeper? It ends them after five seconds'
	from stops s where s.asked_at < t - patience having count(*) > 0;
end
$$;
