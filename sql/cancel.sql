-- Cancels an operation, which is locked. answer: withdrawn: nothing was running, it is FAILED now; asked: its task runs, the workers
-- are told to end it, and it is FAILED when they say so or after five seconds; refused.
create or replace function kser.cancel_locked(operation uuid, reason text, out answer text, out detail text) language plpgsql volatile as $$
declare
	t constant timestamptz := clock_timestamp();
	s record;
begin
	select * into s from kser.present_state(operation);
	if (s.o).status = 'FAILED' and (s.o).error = 'Cancelled' then
		answer := 'withdrawn';
		detail := 'it was cancelled before';
	elsif (s.o).status in ('SUCCESS', 'FAILED') then
		answer := 'refused';
		detail := format('operation %s is %s: only one that has not ended can be cancelled', operation, (s.o).status);
	elsif (s.k).status = 'RUNNING' then
		answer := 'asked';
		detail := format('task %s (%s) is told to stop', (s.k).position, (s.k).entrypoint);
		if s.stop is null then
			update kser.tasks set mark = mark | 1 where operation_id = operation and position = (s.k).position;
			insert into kser.stops (operation_id, position, uuid, attempt, queue, asked_at, error, retcode, reason)
			values (operation, (s.k).position, (s.k).uuid, (s.k).attempt, (s.k).queue, t, 'Cancelled', 499, left(reason, 1000))
			on conflict (operation_id, position) do update set uuid = excluded.uuid, attempt = excluded.attempt, asked_at = t, error = excluded.error,
				retcode = excluded.retcode, reason = excluded.reason;
			perform kser.note_verb('cancel', s.k, reason, json_build_object('answer', answer));
			notify kser_ready;
		end if;
	elsif (s.k).operation_id is null then
		answer := 'withdrawn';
		detail := 'all its tasks had succeeded, and it had not ended';
		perform kser.end_without_task(t, operation, 'Cancelled', 499, concat_ws(': ', 'cancelled by ' || session_user, left(reason, 500)));
		insert into kser.history (operation_id, kind, reason, detail) values (operation, 'cancel', left(reason, 1000), json_build_object('answer', answer));
	else
		answer := 'withdrawn';
		detail := 'nothing was running';
		update kser.tasks set status = 'FAILED', finished_at = t, retcode = 499, error = 'Cancelled', stdout = null, retval = null,
			stderr = concat_ws(': ', 'cancelled by ' || session_user, left(reason, 500))
		where operation_id = operation and position = (s.k).position;
		perform kser.end_operation(t, operation, (s.k).position, kser.accumulated(operation, (s.k).position + 1));
		perform kser.drop_ready(s.o, s.k);
		perform kser.note_verb('cancel', s.k, reason, json_build_object('answer', answer));
	end if;
end
$$;

-- Ends an operation that has not ended: it and its task become FAILED, error Cancelled, retcode 499. Returns withdrawn or asked (above);
-- a second call answers the same. Raises 55000 when it has ended, P0002 when there is none.
create or replace function kser.cancel(operation uuid, reason text default null) returns text language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
begin
	perform lock_current(operation);
	return (select answered(c.answer, c.detail) from cancel_locked(operation, reason) as c);
end
$$;

-- The same for many, waiting for nobody: a row for each, by id. answer: also refused, missing, moved (try again).
create or replace function kser.cancel_many(operations uuid[], reason text default null) returns table (operation_id uuid, answer text, detail text)
language sql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
	select l.operation_id, coalesce(l.answer, c.answer), c.detail
	from lock_current_many(operations) as l left join lateral cancel_locked(l.operation_id, reason) as c on l.answer is null;
$$;
