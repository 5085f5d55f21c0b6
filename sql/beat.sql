-- An orchestrator's sign of life, every second or so.
--
--   instance      its id, drawn at start; a row is made when `joining`
--   floor         every dispatch of its own with a smaller epoch is acknowledged
--   sleeping      it wants a NOTIFY kser_ready when something is submitted
--   lease         how long the keeper's role lasts without a beat; silence: after which an instance's row is removed (by the keeper)
--
-- registered false: its row is gone; it must drop what it has not sent and join anew. For the keeper also what there is to do:
--   in_flight  something runs or is claimed: rounds of the proof of loss
--   overdue    something is past its time (kser.overdue)
--   stops      workers are to be told to end something (kser.stops_open)
--   redrive    dead letters are to be sent again (kser.take_redrive)
create or replace function kser.beat(instance uuid, instance_name text, program_version text, of_floor bigint, is_sleeping boolean, joining boolean, lease interval, silence interval)
returns table (registered boolean, generation bigint, epoch bigint, keeper boolean, in_flight boolean, overdue boolean, stops boolean, redrive boolean) language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	is_keeper boolean;
begin
	update instances i set floor = of_floor, sleeping = is_sleeping, beat_at = t where i.id = instance;
	if not found then
		if not joining then
			return query select false, m.generation, m.epoch, false, false, false, false, false from meta m;
			return;
		end if;
		insert into instances (id, name, version, floor, sleeping, started_at, beat_at) values (instance, instance_name, program_version, of_floor, is_sleeping, t, t);
	end if;
	-- Who renews or takes the role holds this lock for the moment; who does not get it tries at the next beat.
	if pg_try_advisory_xact_lock(hashtext('kser keeper')) then
		update instances i set keeper_until = t + lease
		where i.id = instance and not exists (select from instances other where other.id <> instance and other.keeper_until > t);
		is_keeper := found;
		if is_keeper then
			delete from instances i where i.id <> instance and i.beat_at < t - silence;
		end if;
	else
		select i.keeper_until > t into is_keeper from instances i where i.id = instance;
	end if;
	if is_keeper is not true then
		return query select true, m.generation, m.epoch, false, false, false, false, false from meta m;
		return;
	end if;
	perform count_grown();
	return query select true, m.generation, m.epoch, true, something_runs(t) or exists (select from claims),
		exists (select from operations o where o.deadline_at < t and o.finished_at is null) or exists (select from stops s where s.asked_at < t - interval '5 s'),
		exists (select from stops), exists (select from dead_letters d where d.redrive_at is not null)
	from meta m;
end
$$;

-- Whether an operation runs. Looks from the newest one backwards: what has ended lies before, and while somebody keeps a snapshot it cannot be cleaned up.
-- Where going past all of it was dear (dear_until) and found nothing, true for a while: that costs rounds, which is less.
create or replace function kser.something_runs(t timestamptz) returns boolean language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	until timestamptz := nullif(current_setting('kser.runs_until', true), '');
	began constant timestamptz := clock_timestamp();
	runs boolean;
begin
	if t between until - interval '10 s' and until then
		return true;
	end if;
	select true into runs from operations o where o.started_at is not null and o.finished_at is null and not o.held order by o.window_queue desc, o.id desc limit 1;
	until := dear_until(began, 'operations');
	if runs is null and until is not null then
		perform set_config('kser.runs_until', until::text, false);
	end if;
	return runs is true;
end
$$;

-- An orchestrator leaves: its row and the keeper's role with it.
create or replace function kser.leave(instance uuid) returns void language sql volatile as $$
	delete from kser.instances where id = instance;
$$;
