-- Who may do what, for the roles that exist. Functions are nobody's unless given.
do $$
begin
	revoke all on all functions in schema kser from public;
	if exists (select from pg_roles where rolname = 'kser_read') then
		grant usage on schema kser to kser_read;
		grant select on kser.operations, kser.tasks, kser.ready, kser.claims, kser.workers, kser.entrypoints, kser.queues, kser.history, kser.dead_letters,
			kser.counters, kser.instances, kser.samples, kser.proofs, kser.suspects, kser.stops, kser.policies, kser.meta to kser_read;
	end if;
	if exists (select from pg_roles where rolname = 'kser_submit') then
		grant usage on schema kser to kser_submit;
		grant execute on function kser.submit, kser.submit_many to kser_submit;
		grant select on kser.meta to kser_submit; -- for the programs' look at the schema's version
	end if;
	if exists (select from pg_roles where rolname = 'kser_operate') then
		grant usage on schema kser to kser_operate;
		grant execute on function kser.submit, kser.submit_many, kser.cancel, kser.cancel_many, kser.pause, kser.pause_many, kser.resume, kser.resume_many,
			kser.retry, kser.retry_many, kser.redrive_dead, kser.drop_dead, kser.set_policy, kser.drop_policy, kser.doctor, kser.explain, kser.new_generation to kser_operate;
		grant select on all tables in schema kser to kser_operate;
	end if;
	if exists (select from pg_roles where rolname = 'kser_engine') then
		grant usage on schema kser to kser_engine;
		grant select, insert, update, delete on all tables in schema kser to kser_engine;
		revoke update, delete on kser.history from kser_engine;
		grant execute on all functions in schema kser to kser_engine;
	end if;
end
$$;
