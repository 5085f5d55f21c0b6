-- A dispatch that the broker refuses for good (too large, not authorized): the task is FAILED if it is still at that attempt,
-- and with it the operation. True when it was.
create or replace function kser.undeliverable(operation uuid, at integer, task uuid, of_attempt integer, of_generation bigint, reason text) returns boolean language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	t constant timestamptz := clock_timestamp();
begin
	update tasks k set status = 'FAILED', finished_at = t, retcode = 500, error = 'Undeliverable', stderr = left(reason, 500), failures = least(failures + 1, 32767)
	where k.operation_id = operation and k.position = at and k.status = 'RUNNING' and k.uuid = task and k.attempt = of_attempt
		and of_generation = (select m.generation from meta m);
	if not found then
		return false;
	end if;
	if not end_stopped(t, operation, at, null) then
		perform end_operation(t, operation, at, null);
	end if;
	return true;
end
$$;
