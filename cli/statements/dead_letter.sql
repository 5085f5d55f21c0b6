-- One record that could not be used, with its bytes: as text with what is no printable ASCII escaped, and as they are. No row when it does not exist.
--   $1 bigint: its id
select d.id, to_jsonb(d.at) as at, d.topic, d.partition, d.kafka_offset as "offset", coalesce(d.size, octet_length(d.bytes)) as size, octet_length(d.bytes) as kept,
	d.worker, to_jsonb(d.redrive_at) as redrive_at, d.reason, encode(d.bytes, 'escape') as text, translate(encode(d.bytes, 'base64'), E'\n', '') as base64
from kser.dead_letters d
where d.id = $1::bigint;
