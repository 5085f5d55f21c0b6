-- A uuid of version 7 (RFC 9562): 48 bits of Unix time in milliseconds, then random; rises with time.
create or replace function kser.uuid_v7() returns uuid language sql volatile parallel safe
return encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
	placing substring(int8send((date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
