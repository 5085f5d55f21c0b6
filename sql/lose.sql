-- Starts again what was lost on its way, in one queue: running tasks without a claim whose dispatches the last look proved
-- answered, though no answer is here. Called when the replies up to ends noted after that look are applied.
--
--   of_epoch  the round; nothing is done unless the last look at the queue was in it
--   between   a task is lost when a second look, so long after a first one, finds it so again
--
-- A row for each task that was lost: it is started again with another attempt, or has FAILED at its tenth loss. No failure is counted.
create or replace function kser.lose(queue text, of_epoch bigint, "between" interval default '2 s')
returns table (operation_id uuid, "position" integer, attempt integer) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	losses_max constant integer := 10;
	t constant timestamptz := clock_timestamp();
	of_queue constant text := queue;
	proof proofs;
	found record;  -- parallel arrays: what this round finds lost
	lost record;
begin
	select p.* into proof from proofs p where p.queue = of_queue and p.epoch = of_epoch;
	select coalesce(array_agg(s.operation_id) filter (where s.is_lost), '{}') as operations, array_agg(s.position) filter (where s.is_lost) as positions,
		array_agg(s.attempt) filter (where s.is_lost) as attempts, bool_or(is_unstarted(t, s.dispatched_at, s.policy)) as unstarted
	into found
	from (select *, r.epoch < proof.passed[r.partition + 1] as is_lost from running_tasks(of_queue) r) as s;
	if found.unstarted then
		perform fail_unstarted(of_queue);
	end if;
	if proof.epoch is null then
		return;
	end if;

	delete from suspects s where s.queue = of_queue and not exists (
		select from unnest(found.operations, found.positions, found.attempts) as f (operation_id, position, attempt)
		where f.operation_id = s.operation_id and f.position = s.position and f.attempt = s.attempt);
	if found.operations = '{}' then
		return;
	end if;
	insert into suspects (operation_id, position, attempt, queue, since)
	select f.operation_id, f.position, f.attempt, of_queue, t from unnest(found.operations, found.positions, found.attempts) as f (operation_id, position, attempt)
	on conflict do nothing;

	for lost in
		select l.* from (select * from suspects s where s.queue = of_queue and s.since < t and s.since <= t - "between" order by s.operation_id, s.position) as s,
			lateral (select k.operation_id, k.position from tasks k where k.operation_id = s.operation_id and k.position = s.position and k.attempt = s.attempt for update skip locked) as l
	loop
		return query select * from lose_one(t, lost.operation_id, lost.position, proof, losses_max);
	end loop;
end
$$;

-- A suspect's task, its row locked: looked at again in a fresh statement, and lost if it still is. A row when it was.
create or replace function kser.lose_one(t timestamptz, operation uuid, at integer, proof kser.proofs, losses_max integer)
returns table (operation_id uuid, "position" integer, attempt integer) language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	task tasks;
begin
	delete from suspects s where s.operation_id = operation and s.position = at;
	update tasks k set losses = k.losses + 1, answer = null, tries_since = coalesce(k.tries_since, k.dispatched_at)
	where k.operation_id = operation and k.position = at and k.status = 'RUNNING' and k.queue = proof.queue and k.epoch < proof.passed[k.partition + 1]
		and not exists (select from claims c where c.operation_id = operation and c.position = at and c.attempt = k.attempt)
	returning * into task;
	if not found then
		return;
	end if;
	insert into history (at, operation_id, position, uuid, attempt, kind, reason)
	values (t, operation, at, task.uuid, task.attempt, 'lost', format('dispatched in epoch %s to partition %s, where all was answered up to epoch %s', task.epoch, task.partition, proof.passed[task.partition + 1]));
	if end_stopped(t, operation, at, null) then
		null;
	elsif task.losses >= losses_max then
		perform give_up(t, operation, at, 500, 'Lost', format('its messages were lost %s times', task.losses));
	else
		perform put_back(t, operation, at, '0');
	end if;
	return query select operation, at, task.attempt;
end
$$;
