-- Puts a task whose row is locked back: it waits for `delay` and is started with the next attempt. Not a failure.
-- Of a held operation what is due at once needs no row in `ready`: resuming makes it.
create or replace function kser.put_back(t timestamptz, operation uuid, at integer, delay interval) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
begin
	update tasks k set status = 'PENDING' where k.operation_id = operation and k.position = at;
	delete from claims c where c.operation_id = operation and c.position = at;
	insert into ready (queue, priority, due_at, operation_id, position, attempt, started)
	select k.queue, o.priority, t + delay, operation, at, k.attempt, true
	from tasks k join operations o on o.id = k.operation_id
	where k.operation_id = operation and k.position = at and o.status = 'RUNNING' and (not o.held or delay > '0');
end
$$;

-- Ends a running task, whose row is locked, with an error, and with it its operation: no tries are left.
create or replace function kser.give_up(t timestamptz, operation uuid, at integer, of_retcode integer, of_error text, why text) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
begin
	update tasks k set status = 'FAILED', finished_at = t, retcode = of_retcode, error = of_error, stderr = why, failures = least(k.failures + 1, 32767)
	where k.operation_id = operation and k.position = at;
	perform end_operation(t, operation, at, accumulated(operation, at + 1));
	delete from claims c where c.operation_id = operation and c.position = at;
	insert into history (at, operation_id, position, uuid, attempt, kind, reason, worker, retcode, error)
	select t, operation, at, k.uuid, k.attempt, 'failed', why, k.worker, of_retcode, of_error from tasks k where k.operation_id = operation and k.position = at;
end
$$;

-- A running attempt, whose row is locked, took longer than it may: a failure like one that a worker reports, retried as the policy says.
create or replace function kser.time_out(t timestamptz, operation uuid, at integer, why text) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
begin
	if end_stopped(t, operation, at, null) then
		return;
	end if;
	update tasks k set status = 'FAILED', finished_at = t, retcode = 504, error = 'Timeout', stderr = why, answer = null, failures = least(k.failures + 1, 32767)
	where k.operation_id = operation and k.position = at;
	perform fail_step(t, operation, at, false, accumulated(operation, at + 1));
	delete from claims c where c.operation_id = operation and c.position = at;
end
$$;
