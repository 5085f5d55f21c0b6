-- Ends an operation with the outcome of one of its tasks, whose row is locked. total: the accumulated Result, or null.
create or replace function kser.end_operation(t timestamptz, operation uuid, at integer, total json) returns void language sql volatile as $$
	update kser.operations o set status = k.status, finished_at = t, retcode = k.retcode, error = k.error,
		stdout = coalesce(total ->> 'stdout', k.stdout), stderr = coalesce(total ->> 'stderr', k.stderr), retval = coalesce(total -> 'retval', k.retval)
	from kser.tasks k
	where o.id = operation and o.status in ('PENDING', 'RUNNING') and k.operation_id = operation and k.position = at;
	delete from kser.keys k using kser.operations o where o.id = operation and k.key = o.key and k.operation_id = operation and k.until is null;
	select kser.note_ended(t, operation);
$$;

-- Ends an unfinished operation, whose row is locked, that has no task to go on with, all being SUCCESS: with the outcome of the last one, or FAILED
-- with the error that is given. Nothing leaves one so: an end of its last task ends it, too. This is for what somebody did to its rows by hand.
create or replace function kser.end_without_task(t timestamptz, operation uuid, error text, retcode integer, stderr text) returns void language sql volatile
set search_path = pg_catalog, kser, pg_temp as $$
	update operations o set status = (case when end_without_task.error is null then 'SUCCESS' else 'FAILED' end)::status, finished_at = t,
		retcode = coalesce(end_without_task.retcode, 0), error = end_without_task.error, stdout = total.result ->> 'stdout',
		stderr = coalesce(end_without_task.stderr, total.result ->> 'stderr'), retval = total.result -> 'retval'
	from (select accumulated(operation, (select max(k.position) + 1 from tasks k where k.operation_id = operation)) as result) as total
	where o.id = operation and o.status in ('PENDING', 'RUNNING');
	delete from keys k using operations o where o.id = operation and k.key = o.key and k.operation_id = operation and k.until is null;
	select note_ended(t, operation);
$$;

-- What follows a failed attempt, whose row is locked and FAILED: kept in history; tried again after its delay, or the operation ends.
create or replace function kser.fail_step(t timestamptz, operation uuid, at integer, temporary boolean, total json) returns void language plpgsql volatile as $$
declare
	task kser.tasks;
	since timestamptz;
	delay interval;
begin
	select * into task from kser.tasks where operation_id = operation and position = at;
	since := coalesce(task.tries_since, task.dispatched_at);
	delay := kser.retry_delay(task.policy, task.failures, temporary, t - since, task.retcode, task.error);
	insert into kser.history (at, operation_id, position, uuid, attempt, kind, reason, worker, retcode, error, detail)
	values (t, operation, at, task.uuid, task.attempt, 'failed', case when delay is null then 'not tried again' else format('tried again in %s ms', (extract(epoch from delay) * 1000)::bigint) end,
		task.worker, task.retcode, task.error, json_build_object('stdout', task.stdout, 'stderr', task.stderr, 'retval', task.retval));
	if delay is null then
		perform kser.end_operation(t, operation, at, total);
	else
		update kser.tasks set tries_since = since where operation_id = operation and position = at;
		perform kser.put_back(t, operation, at, delay);
	end if;
end
$$;
