-- Ends the operation of a task that somebody wanted ended (a row in `stops`), with that row's error; the task row is locked by
-- the caller. A task that still runs is FAILED with the same error, and whatever its attempt says from now on is late. Of one under a
-- claim no epoch stays: that its record was passed proves nothing about whether it still runs.
-- total: the accumulated Result, or null. False when nobody wanted this attempt ended.
create or replace function kser.end_stopped(t timestamptz, operation uuid, at integer, total json) returns boolean language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	stop stops;
	task tasks;
begin
	delete from stops s where s.operation_id = operation and s.position = at returning * into stop;
	if not found then
		return false;
	end if;
	select * into task from tasks k where k.operation_id = operation and k.position = at;
	if task.uuid is distinct from stop.uuid or task.attempt <> stop.attempt then
		return false;
	end if;
	if task.status in ('RUNNING', 'PENDING') then
		update tasks k set mark = 0, status = 'FAILED', finished_at = t, answer = case when k.status = 'PENDING' then k.answer end,
			epoch = case when not exists (select from claims c where c.operation_id = operation and c.position = at) then k.epoch end, retcode = stop.retcode, error = stop.error, stderr = coalesce(left(stop.reason, 500), 'stopped on request')
		where k.operation_id = operation and k.position = at;
	else
		update tasks k set mark = 0 where k.operation_id = operation and k.position = at;
	end if;
	total := coalesce(total, accumulated(operation, at + 1));
	update operations o set status = 'FAILED', finished_at = t, retcode = stop.retcode, error = stop.error,
		stdout = total ->> 'stdout', stderr = total ->> 'stderr', retval = total -> 'retval'
	where o.id = operation and o.status in ('PENDING', 'RUNNING');
	perform note_ended(t, operation);
	delete from claims c where c.operation_id = operation and c.position = at;
	delete from keys k using operations o where o.id = operation and k.key = o.key and k.operation_id = operation and k.until is null;
	insert into history (at, operation_id, position, uuid, attempt, kind, reason, worker, retcode, error)
	values (t, operation, at, task.uuid, task.attempt, 'stopped', left(stop.reason, 500), task.worker, stop.retcode, stop.error);
	return true;
end
$$;

-- Tasks that have ended by themselves are nobody's to end any more.
create or replace function kser.forget_marks(operations uuid[], positions integer[]) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
begin
	delete from stops s using unnest(operations, positions) as w (operation, position) where s.operation_id = w.operation and s.position = w.position;
	update tasks k set mark = 0 from unnest(operations, positions) as w (operation, position) where k.operation_id = w.operation and k.position = w.position and k.mark <> 0;
end
$$;
