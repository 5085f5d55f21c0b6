-- A generation: random, so that none is ever met again.
create or replace function kser.random_generation() returns bigint language sql volatile
-- The second half of a random uuid has two fixed bits; hashing spreads the others over all 64.
return hashtextextended(encode(uuid_send(gen_random_uuid()), 'hex'), 0);

-- The server's timeline: another one after a standby took over or a backup was recovered.
create or replace function kser.timeline() returns integer language sql volatile
return ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;

-- Nothing is dispatched any more until there is a new generation. `of_generation`: of what gave cause; when there is another one by now
-- nothing is done, for that is the remedy. Null: of whichever there is.
create or replace function kser.halt(reason text, of_generation bigint default null) returns void language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
begin
	update meta set halted = left(coalesce(reason, ''), 500) where halted is null and generation = coalesce(of_generation, generation);
	if found then
		insert into history (kind, reason) values ('halted', left(reason, 500));
	end if;
end
$$;

-- A running task of an operation is started again, whatever its attempt does; what somebody wanted ended is ended.
create or replace function kser.start_anew(t timestamptz, operation uuid) returns void language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	at integer;
	at_before integer;
	is_running boolean;
begin
	-- Lock, then look again: the operation may have gone on while we waited.
	loop
		at := current_position(operation);
		exit when at is null or at = at_before;
		select k.status = 'RUNNING' into is_running from tasks k where k.operation_id = operation and k.position = at for update;
		at_before := at;
	end loop;
	if is_running and at is not null and not end_stopped(t, operation, at, null) then
		perform put_back(t, operation, at, '0');
	end if;
end
$$;

-- Another generation: what was dispatched until now counts no more, whatever runs is started again. After the database was restored
-- from a backup, and when an operator says so. Returns the generation. When no orchestrator is there, the next one may have another prefix of topics.
create or replace function kser.new_generation(reason text) returns bigint language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp set enable_seqscan = on set enable_hashjoin = on set lock_timeout = '10s' as $$
declare
	t constant timestamptz := clock_timestamp();
	drawn bigint;
	running record;
begin
	update meta set generation = random_generation(), halted = null, topic_prefix = case when exists (select from instances) then topic_prefix end, timeline = timeline(), system_identifier = (select c.system_identifier from pg_control_system() c)
	returning generation into drawn;
	for running in select o.id from operations o where o.started_at is not null and o.finished_at is null order by o.id loop
		perform start_anew(t, running.id);
	end loop;
	delete from claims;
	delete from stops;
	delete from suspects;
	delete from samples;
	delete from proofs;
	insert into ready (queue, priority, due_at, operation_id, position, attempt, started)
	select k.queue, o.priority, t, k.operation_id, k.position, k.attempt, true
	from operations o, lateral (select * from tasks s where s.operation_id = o.id and s.position = current_position(o.id)) as k
	where o.started_at is not null and o.finished_at is null and not o.held and k.status = 'PENDING'
		and (k.operation_id, k.position, k.attempt) not in (select r.operation_id, r.position, r.attempt from ready r where r.started);
	insert into history (at, kind, reason) values (t, 'generation', left(reason, 500));
	notify kser_ready;
	return drawn;
end
$$;

-- Whether this server is another one than before (a backup was restored, a standby took over), so that a new generation was made:
-- true. The keeper asks at each connect. Where failover is declared to lose no commit, a standby's takeover is only noted.
-- Raises 25006 while the server recovers, or is a standby: it has no timeline of its own yet.
create or replace function kser.check_identity() returns boolean language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	m meta;
	now_identifier constant bigint := (select c.system_identifier from pg_control_system() c);
	now_timeline integer;
begin
	if pg_is_in_recovery() then
		raise exception using errcode = '25006', message = 'the server recovers, or is a standby: nothing can be written';
	end if;
	now_timeline := timeline();
	select * into m from meta;
	if m.system_identifier = now_identifier and m.timeline = now_timeline then
		return false;
	end if;
	-- Of several that ask at the same moment one makes the generation.
	select * into m from meta for update;
	if m.system_identifier = now_identifier and m.timeline = now_timeline then
		return false;
	elsif m.synchronous_failover and m.system_identifier = now_identifier then
		update meta set timeline = now_timeline;
		return false;
	end if;
	perform new_generation(format('the server is another one: system %s timeline %s, it was system %s timeline %s', now_identifier, now_timeline, m.system_identifier, m.timeline));
	return true;
end
$$;
