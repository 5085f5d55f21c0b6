-- Records the installed version and the hash of the functions; the first time it draws the generation.
create or replace function kser.schema_installed(version integer, hash text) returns void language plpgsql as $$
declare
	random_bytes bytea := uuid_send(gen_random_uuid());
begin
	insert into kser.meta (generation, schema_version, functions_hash, system_identifier, timeline)
	-- The second half of a random uuid has two fixed bits; hashing spreads the others over all 64.
	select hashtextextended(encode(random_bytes, 'hex'), 0), version, hash,
		(select system_identifier from pg_control_system()), (select timeline_id from pg_control_checkpoint())
	on conflict (one) do update set schema_version = version, functions_hash = hash;
end
$$;
