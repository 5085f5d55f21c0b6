-- Ends claims that were not renewed for a lease, and starts their tasks again. Called when the replies up to ends noted after `at`
-- are applied.
--
--   at     when the round began, by this server's clock
--   since  counts as a renewal of all claims (the keeper's connection is new, a round could not be completed …)
--   lease  how long a claim lasts
--
-- A claim past its deadline (the run limit and some seconds) has failed with Timeout, whatever its worker says.
-- A row for each attempt that ended: it is started again, or has FAILED (it ran alone and took a third worker with it; no tries left).
create or replace function kser.expire(at timestamptz, since timestamptz, lease interval) returns table (operation_id uuid, "position" integer, attempt integer, worker text)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	dead record;
	claim claims;
begin
	-- Of a time before the clock was set back.
	update claims c set renewed_at = t where c.renewed_at > t;
	-- Of an operation that was deleted.
	delete from claims c where c.renewed_at < at - lease and not exists (select from tasks k where k.operation_id = c.operation_id and k.position = c.position);
	for dead in
		select l.* from (select c.operation_id, c.position from claims c where greatest(c.renewed_at, least(since, t)) < at - lease or c.deadline_at < at
				order by c.operation_id, c.position) as c,
			lateral (select k.operation_id, k.position from tasks k where k.operation_id = c.operation_id and k.position = c.position for update skip locked) as l
	loop
		-- The task's row is ours: the claim is looked at again.
		delete from claims c where c.operation_id = dead.operation_id and c.position = dead.position
			and (greatest(c.renewed_at, least(since, t)) < at - lease or c.deadline_at < at) returning * into claim;
		continue when not found;
		if end_claim(t, claim, greatest(claim.renewed_at, least(since, t)) >= at - lease) then
			return query select claim.operation_id, claim.position, claim.attempt, claim.worker;
		end if;
	end loop;
end
$$;

-- What follows a claim that was just ended, its task's row locked. False when the task was not at that attempt any more.
create or replace function kser.end_claim(t timestamptz, claim kser.claims, is_alive boolean) returns boolean language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	-- An attempt after so many crashes ran alone; when it takes its worker with it, it is the culprit.
	crashes_alone constant integer := 2;
	task tasks;
begin
	select * into task from tasks k where k.operation_id = claim.operation_id and k.position = claim.position and k.status = 'RUNNING' and k.uuid = claim.uuid and k.attempt = claim.attempt;
	if not found then
		return false;
	end if;
	update tasks k set worker = claim.worker, answer = null, crashes = case when is_alive then k.crashes else least(coalesce(k.crashes, 0) + 1, 32767) end,
		tries_since = coalesce(k.tries_since, k.dispatched_at)
	where k.operation_id = claim.operation_id and k.position = claim.position;
	if is_alive then
		perform time_out(t, claim.operation_id, claim.position, 'ran longer than its limit and was not ended by its worker');
		return true;
	end if;
	insert into history (at, operation_id, position, uuid, attempt, kind, reason, worker)
	values (t, claim.operation_id, claim.position, claim.uuid, claim.attempt, 'expired', format('its worker was not heard of since %s', claim.renewed_at), claim.worker);
	if end_stopped(t, claim.operation_id, claim.position, null) then
		null;
	elsif task.crashes >= crashes_alone then
		perform give_up(t, claim.operation_id, claim.position, 500, 'WorkerLost', format('%s workers were lost with it, the last one while it ran alone', task.crashes + 1));
	else
		perform put_back(t, claim.operation_id, claim.position, '0');
	end if;
	return true;
end
$$;
