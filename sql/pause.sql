-- Pauses an operation, which is locked. answer: paused, refused.
create or replace function kser.pause_locked(operation uuid, reason text, out answer text, out detail text) language plpgsql volatile as $$
declare
	s record;
	due timestamptz;
begin
	select * into s from kser.present_state(operation);
	if (s.o).status in ('SUCCESS', 'FAILED') or s.stop is not null then
		answer := 'refused';
		detail := format('operation %s is %s: only one that goes on can be paused', operation, coalesce('being ended (' || s.stop || ')', (s.o).status::text));
		return;
	end if;
	if (s.k).operation_id is null then
		answer := 'refused';
		detail := format('operation %s has no task left that could wait: all have succeeded, resume ends it', operation);
		return;
	end if;
	answer := 'paused';
	detail := case when (s.k).status = 'RUNNING' then format('task %s (%s) runs to its end, nothing starts after it', (s.k).position, (s.k).entrypoint) else 'nothing runs' end;
	if not (s.o).held then
		update kser.operations set held = true where id = operation;
		due := kser.drop_ready(s.o, s.k);
		perform kser.note_verb('pause', s.k, reason, json_build_object('due_at', due));
	end if;
end
$$;

-- Holds an operation: once this has committed none of its tasks becomes RUNNING. One that was RUNNING before goes on, and its result counts.
-- Returns paused, also when it was. Raises 55000 when it has ended or is being ended, P0002 when there is none.
create or replace function kser.pause(operation uuid, reason text default null) returns text language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
begin
	perform lock_current(operation);
	return (select answered(p.answer, p.detail) from pause_locked(operation, reason) as p);
end
$$;

-- The same for many, waiting for nobody: a row for each, by id. answer: also refused, missing, moved (try again).
create or replace function kser.pause_many(operations uuid[], reason text default null) returns table (operation_id uuid, answer text, detail text)
language sql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
	select l.operation_id, coalesce(l.answer, p.answer), p.detail
	from lock_current_many(operations) as l left join lateral pause_locked(l.operation_id, reason) as p on l.answer is null;
$$;
