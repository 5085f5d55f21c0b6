-- Why the last attempt of a task that has ended may still run somewhere; null when it cannot. A result, or the proof of loss, says so.
create or replace function kser.may_still_run(k kser.tasks) returns text language plpgsql stable as $$
declare
	holder text;
begin
	select c.worker into holder from kser.claims c where c.operation_id = k.operation_id and c.position = k.position and c.uuid = k.uuid and c.attempt = k.attempt;
	if found then
		return format('worker %s holds attempt %s of task %s', holder, k.attempt, k.position);
	elsif k.attempt = 0 or k.answer is not null or k.error = 'Undeliverable'
			or exists (select from kser.history h where h.kind = 'late' and h.uuid = k.uuid and h.attempt = k.attempt) -- its result or release came after its end
			or k.epoch < (select p.passed[k.partition + 1] from kser.proofs p where p.queue = k.queue) then
		return null;
	end if;
	return format('attempt %s of task %s may still run: neither a result of it nor a proof that it is gone has come', k.attempt, k.position);
end
$$;

-- Takes an idempotency key that holds while its operation is active once more, for an operation that is to run again; why that
-- cannot be, or null.
create or replace function kser.take_key_again(o kser.operations) returns text language plpgsql volatile as $$
declare
	present record;
begin
	loop
		exit when o.body_hash is null; -- no key, or one for a period of its own
		insert into kser.keys (key, operation_id, body_hash, until) values (o.key, o.id, o.body_hash, null) on conflict (key) do nothing;
		exit when found;
		-- A fresh statement: sees who was first.
		select k.operation_id, k.until into present from kser.keys k where k.key = o.key;
		continue when not found;
		exit when present.operation_id = o.id;
		if present.until > clock_timestamp()
				or present.until is null and exists (select from kser.operations a where a.id = present.operation_id and a.status in ('PENDING', 'RUNNING')) then
			return format('its key %s stands for operation %s now', to_json(left(o.key, 100)), present.operation_id);
		end if;
		update kser.keys k set operation_id = o.id, body_hash = o.body_hash, until = null where k.key = o.key and k.operation_id = present.operation_id;
		exit when found;
	end loop;
	return null;
end
$$;

-- Why an operation, which is locked, cannot be tried again; null when it can, and then it has its key.
create or replace function kser.retry_problem(o kser.operations, k kser.tasks, force boolean, deadline interval) returns text language plpgsql volatile as $$
begin
	return case
		when o.status <> 'FAILED' then format('it is %s', o.status)
		-- Stopped when its last task had just succeeded with a plan, which was not taken.
		when k.operation_id is null then 'all its tasks have succeeded, none is left to run'
		when deadline <= '0' then 'its new deadline is none: it must be after now'
		when deadline is null and o.deadline_at <= clock_timestamp() then format('its deadline passed at %s; give it a new one', to_char(o.deadline_at, 'YYYY-MM-DD"T"HH24:MI:SSOF'))
		when not force and kser.may_still_run(k) is not null then kser.may_still_run(k) || '; wait, or force it'
		else kser.take_key_again(o) end;
end
$$;

-- Lets an operation, which is locked, run again from the task that failed. answer: retried, refused.
create or replace function kser.retry_locked(operation uuid, reason text, force boolean, deadline interval, out answer text, out detail text) language plpgsql volatile as $$
declare
	t constant timestamptz := clock_timestamp();
	s record;
	problem text;
begin
	select * into s from kser.present_state(operation);
	problem := kser.retry_problem(s.o, s.k, coalesce(force, false), deadline);
	if problem is not null then
		answer := 'refused';
		detail := format('operation %s cannot be tried again: %s', operation, problem);
		return;
	end if;
	answer := 'retried';
	detail := format('from task %s (%s)', (s.k).position, (s.k).entrypoint);
	update kser.tasks set status = 'PENDING', failures = 0, losses = 0, crashes = null, mark = 0, tries_since = null, answer = null, finished_at = null,
		retcode = null, error = null, worker = null, stdout = null, stderr = null, retval = null
	where operation_id = operation and position = (s.k).position;
	-- One that never started waits again for its start.
	update kser.operations o set status = case when o.started_at is null then 'PENDING' else 'RUNNING' end::kser.status, held = false, window_queue = (s.k).queue,
		deadline_at = coalesce(t + deadline, o.deadline_at), finished_at = null, retcode = null, error = null, stdout = null, stderr = null, retval = null
	where o.id = operation;
	delete from kser.claims c where c.operation_id = operation;
	delete from kser.stops x where x.operation_id = operation;
	perform kser.make_ready(s.o, s.k, t);
	perform kser.note_verb('retry', s.k, reason, json_build_object('error', (s.o).error, 'retcode', (s.o).retcode, 'forced', coalesce(force, false)));
end
$$;

-- Lets a FAILED operation run again, from the task that failed: tasks that succeeded are not run again, failures are counted from 0.
--
--   deadline  so long from now it has; needed when the one it had has passed, else it keeps that
--   force     also when the last attempt may still run: it may then run beside the new one, whose result is the one that counts
--
-- Its idempotency key, where it holds while the operation is active, is its own again. Returns retried. Raises 55000 when that cannot be: it is
-- not FAILED, its deadline has passed, its key stands for another operation, its last attempt may still run. P0002: there is none.
create or replace function kser.retry(operation uuid, reason text default null, force boolean default false, deadline interval default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
begin
	perform lock_current(operation);
	return (select answered(r.answer, r.detail) from retry_locked(operation, reason, force, deadline) as r);
end
$$;

-- The same for many, waiting for nobody: a row for each, by id. answer: also refused, missing, moved (try again).
create or replace function kser.retry_many(operations uuid[], reason text default null, force boolean default false, deadline interval default null)
returns table (operation_id uuid, answer text, detail text) language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	ids uuid[];
	answers text[];
	details text[];
	one record;
	done record;
begin
	select array_agg(l.operation_id order by l.operation_id), array_agg(l.answer order by l.operation_id) into ids, answers from lock_current_many(operations) as l;
	-- Keys are taken in their own order, as submissions do: two that want the same ones would else wait for each other.
	for one in
		select l.id, l.n from unnest(ids, answers) with ordinality as l (id, answer, n) join operations o on o.id = l.id where l.answer is null order by o.key, o.id
	loop
		done := retry_locked(one.id, reason, force, deadline);
		answers[one.n] := done.answer;
		details[one.n] := done.detail;
	end loop;
	return query select * from unnest(ids, answers, details);
end
$$;
