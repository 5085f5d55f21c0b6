-- What happened in one operation since the last look, in the order of its tasks.
--   $1 uuid: the operation   $2 integer, $3 integer, $4 status: position, attempt and status of the last row seen (-1, 0, PENDING at first)
--   $5 integer: at most so many
select position, to_jsonb(coalesce(finished_at, dispatched_at)) as at, entrypoint, status, attempt, retcode, error, coalesce(retval #>> '{error,message}', case when status = 'FAILED' then left(stderr, 500) end) as message,
	round(extract(epoch from finished_at - dispatched_at), 3) as seconds
from kser.tasks
where operation_id = $1::uuid and position >= $2::integer and (position, attempt, status) > ($2::integer, $3::integer, $4::kser.status) and status <> 'PENDING'
order by position
limit $5::integer;
