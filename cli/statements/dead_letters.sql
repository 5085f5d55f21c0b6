-- Records that could not be used, newest first, without their bytes.
--   $1 boolean: also those that are to be sent again   $2 text: only of this topic; null: any
--   $3 bigint: only older than this one; null: from the newest   $4 integer: at most so many
select d.id, to_jsonb(d.at) as at, d.topic, d.partition, d.kafka_offset as "offset", coalesce(d.size, octet_length(d.bytes)) as size, octet_length(d.bytes) as kept,
	d.worker, to_jsonb(d.redrive_at) as redrive_at, d.reason
from kser.dead_letters d
where ($1::boolean or d.redrive_at is null) and ($2::text is null or d.topic = $2) and ($3::bigint is null or d.id < $3)
order by d.id desc
limit $4::integer;
