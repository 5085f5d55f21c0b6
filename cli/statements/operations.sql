-- Operations, newest first, one row each as far as they exist.
--   $1 uuid[]: only these; null: all   $2 status: only such; null: any
--   $3 text: only those of this name, where * stands for any letters and ? for one; null: any
--   $4 uuid: only older than this one; null: from the newest   $5 integer: at most so many
--   $6 text: only those whose tasks' default queue it is; null: any   $7 text: only those that this verb is for; null: any
select id, name, status, held, priority, queue, key, to_jsonb(created_at) as created_at, to_jsonb(started_at) as started_at,
	to_jsonb(finished_at) as finished_at, round(extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at), 3) as seconds, retcode, error,
	case when status = 'FAILED' then coalesce(retval #>> '{error,message}', (
		-- What the engine refused or ended has no retval that says why.
		select left(k.stderr, 500) from kser.tasks k where k.operation_id = operations.id and k.status = 'FAILED' order by k.position limit 1)) end as message
from kser.operations
where ($1::uuid[] is null or id = any ($1)) and ($2::kser.status is null or status = $2) and ($3::text is null or name = $3
		or $3 ~ '[*?]' and name like replace(replace(regexp_replace($3, '([\\%_])', '\\\1', 'g'), '*', '%'), '?', '_'))
	and ($4::uuid is null or id < $4)
	and ($6::text is null or queue = $6)
	and case $7::text
		when 'cancel' then finished_at is null
		when 'pause' then finished_at is null and not held
		when 'resume' then finished_at is null and held
		when 'retry' then status = 'FAILED'
		else true end
order by id desc
limit $5::integer;
