-- All there is to say about one operation; no row when it does not exist.
--   $1 uuid: its id
select id, name, status, held, priority, queue, key, to_jsonb(created_at) as created_at, to_jsonb(start_at) as start_at, to_jsonb(deadline_at) as deadline_at,
	to_jsonb(started_at) as started_at, to_jsonb(finished_at) as finished_at,
	round(extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at), 3) as seconds,
	retcode, error, coalesce(retval #>> '{error,message}', (
		-- What the engine refused or ended has no retval that says why.
		select left(k.stderr, 500) from kser.tasks k where k.operation_id = operations.id and k.status = 'FAILED' and operations.status = 'FAILED'
		order by k.position limit 1)) as message, params::jsonb as params, metadata::jsonb as metadata, policy::jsonb as policy,
	stdout, stderr, retval::jsonb as retval
from kser.operations
where id = $1::uuid;
