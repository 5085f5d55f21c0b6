-- The tasks of one operation in their order.
--   $1 uuid: the operation   $2 integer: from this position   $3 integer: at most so many
select uuid, position, entrypoint, status, attempt, failures, losses, queue, retcode, error, coalesce(retval #>> '{error,message}', case when status = 'FAILED' then left(stderr, 500) end) as message,
	to_jsonb(dispatched_at) as dispatched_at, to_jsonb(finished_at) as finished_at,
	round(extract(epoch from coalesce(finished_at, clock_timestamp()) - dispatched_at), 3) as seconds, worker,
	params::jsonb as params, metadata::jsonb as metadata, policy::jsonb as policy, stdout, stderr, retval::jsonb as retval
from kser.tasks
where operation_id = $1::uuid and position >= $2::integer
order by position
limit $3::integer;
