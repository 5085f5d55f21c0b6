-- The frame of every verb. The current task, the lowest position that is not SUCCESS, is the operation's lock; the operation's
-- row comes after it.
--
-- A running one is marked: `tasks.mark` has bit 1 when somebody wants the attempt ended (a row in `stops`), bit 2 when something about its operation
-- was changed by somebody who held its row, or its worker has claimed it. A result of a marked task goes to apply_results, never to the statement for
-- plain successes: that one waits for the task's row only, so what it has read elsewhere may be old after the wait, but for this mark. Whoever locks
-- a running task's row and changes anything but that row must mark it. A mark stays until the task has ended.

-- Locks the current task of an operation; then looks again, in a fresh statement, whether it still is the current one, and else
-- locks on, upwards only; and marks it when it runs. No task is locked when all are SUCCESS: the operation has ended.
-- waits false: waits for nobody; false comes back when somebody else has the row.
create or replace function kser.lock_task(operation uuid, waits boolean) returns boolean language plpgsql volatile as $$
declare
	locked integer := -1;
	present integer;
begin
	loop
		present := kser.current_position(operation);
		if present is null or present = locked then
			update kser.tasks k set mark = k.mark | 2 where k.operation_id = operation and k.position = present and k.status = 'RUNNING' and k.mark & 2 = 0;
			return true;
		elsif waits then
			perform from kser.tasks k where k.operation_id = operation and k.position = present for update;
		else
			perform from kser.tasks k where k.operation_id = operation and k.position = present for update skip locked;
			if not found then
				return false;
			end if;
		end if;
		-- Not found: a plan has moved it while we waited.
		if found then
			locked := present;
		end if;
	end loop;
end
$$;

-- What a transaction with a verb in it needs: to see what was committed while it waited, to be durable, and not to be forgotten
-- open, since results of its operations wait for it.
create or replace function kser.begin_verb() returns void language plpgsql volatile as $$
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception using errcode = '25001', message = format('this needs a transaction of isolation level READ COMMITTED, not %s', upper(current_setting('transaction_isolation')));
	end if;
	if current_setting('synchronous_commit') in ('off', 'local') then
		perform set_config('synchronous_commit', 'on', true);
	end if;
	if current_setting('idle_in_transaction_session_timeout')::interval not between '1 ms' and '10 s' then
		perform set_config('idle_in_transaction_session_timeout', '10s', true);
	end if;
end
$$;

-- Locks one operation for a verb, waiting for whoever has it. Raises P0002 when there is none.
create or replace function kser.lock_current(operation uuid) returns void language plpgsql volatile as $$
begin
	if operation is null then
		raise exception using errcode = '22004', message = 'operation: is null, must be the id of an operation';
	end if;
	perform kser.begin_verb();
	perform kser.lock_task(operation, true);
	perform from kser.operations o where o.id = operation for update;
	if not found then
		raise exception using errcode = 'P0002', message = format('there is no operation %s', operation);
	end if;
end
$$;

-- Locks many, waiting for nobody. A row for each, by id; answer: null: it is locked; missing: there is none; moved: somebody else
-- has it at the moment, which the caller is to try again in a new transaction.
create or replace function kser.lock_current_many(operations uuid[]) returns table (operation_id uuid, answer text) language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	wanted uuid[] := array(select distinct id from unnest(operations) as id where id is not null order by id);
	answers text[] := '{}';
	one uuid;
begin
	if cardinality(wanted) > bound('submit_operations') then
		raise exception using errcode = '22023', message = format('operations: has %s elements, the limit is %s', cardinality(wanted), bound('submit_operations'));
	end if;
	perform begin_verb();
	-- All tasks before the first operation's row, which is a later class of locks.
	foreach one in array wanted loop
		answers := answers || case
			when not exists (select from operations o where o.id = one) then 'missing'
			when not lock_task(one, false) then 'moved' end;
	end loop;
	perform from operations o join unnest(wanted, answers) as w (id, answer) on w.id = o.id where w.answer is null order by o.id for update of o;
	return query select w.id, w.answer from unnest(wanted, answers) as w (id, answer);
end
$$;

-- What a verb looks at, once the operation is locked: its row, its current task (null: all are SUCCESS), the error name of the stop that was
-- asked for (null: none was).
create or replace function kser.present_state(operation uuid, out o kser.operations, out k kser.tasks, out stop text) language plpgsql stable as $$
begin
	select * into o from kser.operations where id = operation;
	select * into k from kser.tasks where operation_id = operation and position = kser.current_position(operation);
	select s.error into stop from kser.stops s where s.operation_id = k.operation_id and s.position = k.position and s.attempt = k.attempt;
end
$$;

-- The answer of a verb to one operation, or the reason why there is none: 55000.
create or replace function kser.answered(answer text, detail text) returns text language plpgsql immutable as $$
begin
	if answer = 'refused' then
		raise exception using errcode = '55000', message = detail;
	end if;
	return answer;
end
$$;

-- Keeps who did what, and why.
create or replace function kser.note_verb(kind text, k kser.tasks, reason text, detail json) returns void language sql volatile as $$
	insert into kser.history (operation_id, position, uuid, attempt, kind, reason, detail)
	values (k.operation_id, k.position, k.uuid, k.attempt, kind, left(reason, 1000), detail);
$$;

-- Takes the current task off the waiting ones; since when it is due, or null when it was not there.
create or replace function kser.drop_ready(o kser.operations, k kser.tasks) returns timestamptz language plpgsql volatile as $$
declare
	due timestamptz;
begin
	if o.started_at is not null then
		with gone as (
			delete from kser.ready r where r.queue = k.queue and r.started and r.operation_id = o.id returning r.due_at
		)
		select max(due_at) into due from gone;
	else
		with gone as (
			delete from kser.ready r where r.queue = k.queue and r.priority = o.priority and r.due_at = greatest(o.start_at, o.created_at) and r.operation_id = o.id
			returning r.due_at
		)
		select max(due_at) into due from gone;
	end if;
	return due;
end
$$;

-- Puts it there; where it was already it stays due when it was. One of an operation that has not started keeps its place in the order.
create or replace function kser.make_ready(o kser.operations, k kser.tasks, due timestamptz) returns void language plpgsql volatile as $$
begin
	due := coalesce(kser.drop_ready(o, k), due);
	insert into kser.ready (queue, priority, due_at, operation_id, position, attempt, started)
	values (k.queue, o.priority, case when o.started_at is null then greatest(o.start_at, o.created_at) else due end, o.id, k.position, k.attempt, o.started_at is not null);
	perform kser.wake();
end
$$;
