-- Submits a list of operations in the caller's transaction: all or none.
--
--   submissions  array of at most 10,000 objects with the names of submit's parameters: name, tasks, params, key, key_for,
--                priority, queue, start_at, deadline, policy, metadata; durations as seconds or '30s'
--
-- Returns the ids in the order of the list; for a key that is taken by the same body, the id that it stands for.
-- Raises 22023 (and names the place and the limit) for what is wrong, 53400 when the backlog of a queue is full, 23505 for a key
-- with another body, 40001 under REPEATABLE READ and higher when a key's conflict cannot be seen. Nothing runs before the caller's commit.
create or replace function kser.submit_many(submissions jsonb) returns setof uuid language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
declare
	t constant timestamptz := clock_timestamp();
	problem text;
	ids uuid[];
	new_ids uuid[];
	full_queue queues;
begin
	if current_setting('synchronous_commit') in ('off', 'local') then
		perform set_config('synchronous_commit', 'on', true);
	end if;
	if jsonb_typeof(submissions) is distinct from 'array' then
		raise exception using errcode = '22023', message = format('operations: must be an array, not %s', coalesce(jsonb_typeof(submissions), 'null'));
	elsif jsonb_array_length(submissions) > bound('submit_operations') then
		raise exception using errcode = '22023', message = format('operations: has %s elements, the limit is %s', jsonb_array_length(submissions), bound('submit_operations'));
	end if;
	select p into problem from (
		select operation_problem(o, case when jsonb_array_length(submissions) = 1 then '' else format('operations[%s].', ordinality - 1) end) as p, ordinality
		from jsonb_array_elements(submissions) with ordinality as list (o)
	) as checked where p is not null order by ordinality limit 1;
	if problem is not null then
		raise exception using errcode = '22023', message = problem;
	end if;

	new_ids := array(select uuid_v7() from jsonb_array_elements(submissions)); -- not by their number: that would be planned anew each time
	ids := case when jsonb_path_exists(submissions, '$[*].key ? (@ != null)') then take_keys(submissions, new_ids) else new_ids end;
	if exists (select from queues q where q.is_full) then
		select q.* into full_queue from rows from (jsonb_array_elements(submissions), unnest(ids), unnest(new_ids)) as list (o, id, new_id)
		join queues q on q.name = coalesce(o -> 'tasks' -> 0 ->> 'queue', o ->> 'queue', '') where id = new_id and q.is_full limit 1;
		if found then
			raise exception using errcode = '53400', message = format('queue %s: its backlog of %s waiting tasks is full, the limit is %s', to_json(full_queue.name), full_queue.backlog, full_queue.backlog_max);
		end if;
	end if;

	insert into operations (id, name, priority, queue, window_queue, key, params, metadata, policy, created_at, start_at, deadline_at, body_hash)
	select id, o ->> 'name', coalesce((o ->> 'priority')::integer, 0), coalesce(o ->> 'queue', ''), coalesce(o -> 'tasks' -> 0 ->> 'queue', o ->> 'queue', ''), o ->> 'key',
		coalesce(nullif(o -> 'params', 'null'), '{}')::json, coalesce(nullif(o -> 'metadata', 'null'), '{}')::json, nullif(o -> 'policy', 'null')::json,
		t, (o ->> 'start_at')::timestamptz, case when o ->> 'deadline' is not null then greatest((o ->> 'start_at')::timestamptz, t) + duration(o -> 'deadline') end,
		case when o ->> 'key' is not null and o ->> 'key_for' is null then body_hash(o) end
	from rows from (jsonb_array_elements(submissions), unnest(ids), unnest(new_ids)) as list (o, id, new_id)
	where id = new_id;

	insert into tasks (operation_id, position, uuid, entrypoint, queue, policy, metadata, params)
	select id, ordinality - 1, coalesce((task ->> 'uuid')::uuid, uuid_v7()), task ->> 'entrypoint', coalesce(task ->> 'queue', o ->> 'queue', ''),
		merged_policy(d.policy, o -> 'policy', task -> 'policy'), nullif(task -> 'metadata', 'null')::json, coalesce(nullif(task -> 'params', 'null'), '{}')::json
	from rows from (jsonb_array_elements(submissions), unnest(ids), unnest(new_ids)) as list (o, id, new_id),
		-- Without tasks the name is an entrypoint, run as the only task.
		lateral jsonb_array_elements(coalesce(nullif(o -> 'tasks', 'null'), jsonb_build_array(jsonb_build_object('entrypoint', o -> 'name', 'params', o -> 'params')))) with ordinality as task_list (task)
		left join policies d on d.entrypoint = task ->> 'entrypoint'
	where id = new_id;

	-- Tries without an end; looked for where a policy may say so.
	if exists (select from policies) or jsonb_path_exists(submissions, '$[*].policy.max_attempts ? (@ == 0)') or jsonb_path_exists(submissions, '$[*].tasks[*].policy.max_attempts ? (@ == 0)') then
		select format('%stasks[%s].policy.max_attempts: 0 (no limit) needs a budget or a deadline of the operation',
			case when jsonb_array_length(submissions) > 1 then format('operations[%s].', n.ordinality - 1) end, k.position) into problem
		from unnest(ids) with ordinality as n (id, ordinality) join operations o on o.id = n.id join tasks k on k.operation_id = n.id
		where n.id = new_ids[n.ordinality] and is_endless(k.policy, o.deadline_at)
		order by n.ordinality, k.position limit 1;
	end if;
	if problem is not null then
		raise exception using errcode = '22023', message = problem;
	end if;

	insert into ready (queue, priority, due_at, operation_id, position, attempt, started)
	select coalesce(o -> 'tasks' -> 0 ->> 'queue', o ->> 'queue', ''), coalesce((o ->> 'priority')::integer, 0), greatest((o ->> 'start_at')::timestamptz, t), id, 0, 0, false
	from rows from (jsonb_array_elements(submissions), unnest(ids), unnest(new_ids)) as list (o, id, new_id)
	where id = new_id;

	perform wake();
	return query select unnest(ids);
end
$$;
