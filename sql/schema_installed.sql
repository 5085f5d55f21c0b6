-- Records the installed version and the hash of the functions; the first time it draws the generation.
create or replace function kser.schema_installed(version integer, hash text) returns void language plpgsql as $$
begin
	insert into kser.meta (generation, schema_version, functions_hash, system_identifier, timeline)
	select kser.random_generation(), version, hash, (select system_identifier from pg_control_system()), kser.timeline()
	on conflict (one) do update set schema_version = version, functions_hash = hash;
end
$$;
