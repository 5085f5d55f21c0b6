-- Keeps a record that could not be used. The same record again changes nothing.
create or replace function kser.bury(topic text, partition integer, kafka_offset bigint, reason text, bytes bytea, worker text) returns void language sql volatile as $$
	insert into kser.dead_letters (topic, partition, kafka_offset, reason, bytes, worker, size)
	values (topic, partition, kafka_offset, left(reason, 1000), substring(bytes for kser.bound('dead_letter_bytes')), worker, octet_length(bytes))
	on conflict (topic, partition, kafka_offset) do nothing;
$$;
