-- Lets an operation, which is locked, go on. answer: resumed, refused.
create or replace function kser.resume_locked(operation uuid, reason text, out answer text, out detail text) language plpgsql volatile as $$
declare
	s record;
	due timestamptz;
begin
	select * into s from kser.present_state(operation);
	if (s.o).status in ('SUCCESS', 'FAILED') or s.stop is not null then
		answer := 'refused';
		detail := format('operation %s is %s: only one that was paused can be resumed', operation, coalesce('being ended (' || s.stop || ')', (s.o).status::text));
		return;
	end if;
	answer := 'resumed';
	if (s.k).operation_id is null then
		detail := 'all its tasks had succeeded: it has ended';
		perform kser.end_without_task(clock_timestamp(), operation, null, 0, null);
		insert into kser.history (operation_id, kind, reason) values (operation, 'resume', left(reason, 1000));
		return;
	end if;
	detail := case when (s.k).status = 'RUNNING' then format('task %s (%s) runs', (s.k).position, (s.k).entrypoint)
		else format('task %s (%s) is next', (s.k).position, (s.k).entrypoint) end;
	if (s.o).held then
		update kser.operations set held = false where id = operation;
		-- A task that waited to be tried again waits until then.
		select (h.detail ->> 'due_at')::timestamptz into due from kser.history h where h.operation_id = operation and h.kind = 'pause' and h.attempt = (s.k).attempt
			and h.position = (s.k).position order by h.id desc limit 1;
		perform kser.note_verb('resume', s.k, reason, null);
	end if;
	if (s.k).status = 'PENDING' then
		perform kser.make_ready(s.o, s.k, greatest(due, clock_timestamp()));
	end if;
end
$$;

-- Lets a paused operation go on where it stood. Returns resumed, also when it was not paused; whatever was missing for it to go on is there then.
-- Raises 55000 when it has ended or is being ended, P0002 when there is none.
create or replace function kser.resume(operation uuid, reason text default null) returns text language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
begin
	perform lock_current(operation);
	return (select answered(r.answer, r.detail) from resume_locked(operation, reason) as r);
end
$$;

-- The same for many, waiting for nobody: a row for each, by id. answer: also refused, missing, moved (try again).
create or replace function kser.resume_many(operations uuid[], reason text default null) returns table (operation_id uuid, answer text, detail text)
language sql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
	select l.operation_id, coalesce(l.answer, r.answer), r.detail
	from lock_current_many(operations) as l left join lateral resume_locked(l.operation_id, reason) as r on l.answer is null;
$$;
