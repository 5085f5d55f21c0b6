-- What happened in one operation since the last look, in the order of its tasks: attempts that did not end their task, by what became of them
-- (kser.history: failed, lost, expired, released), and each task as it is.
--   $1 uuid: the operation   $2 integer, $3 integer, $4 status: position, attempt and place of the last row seen (-1, 0, PENDING at first)
--   $5 integer: at most so many
select position, at, entrypoint, status, attempt, retcode, error, message, seconds, place
from (
	select k.position, to_jsonb(coalesce(k.finished_at, k.dispatched_at)) as at, k.entrypoint, k.status::text as status, k.attempt, k.retcode, k.error,
		coalesce(k.retval #>> '{error,message}', case when k.status = 'FAILED' then left(k.stderr, 500) end) as message, round(extract(epoch from k.finished_at - k.dispatched_at), 3) as seconds, k.status as place
	from kser.tasks k
	where k.operation_id = $1::uuid and k.position >= $2::integer and k.status <> 'PENDING'
	union all
	select h.position, to_jsonb(h.at), k.entrypoint, h.kind, h.attempt, h.retcode, h.error, coalesce(h.detail #>> '{retval,error,message}', h.reason, left(h.detail ->> 'stderr', 500)), null, 'FAILED'
	from (
		select distinct on (position, attempt) * from kser.history
		where operation_id = $1::uuid and position >= $2::integer and kind in ('failed', 'lost', 'expired', 'released') order by position, attempt, id desc
	) as h join kser.tasks k on k.operation_id = h.operation_id and k.position = h.position
	where k.attempt > h.attempt or k.status = 'PENDING'
) as changes
where (position, attempt, place) > ($2::integer, $3::integer, $4::kser.status)
order by position, attempt, place
limit $5::integer;
