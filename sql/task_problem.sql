-- Why a queue's name is refused; null when it is fine or absent.
create or replace function kser.queue_problem(queue jsonb, place text) returns text language sql immutable parallel safe
return case
	when queue is null or queue = 'null' then null
	when jsonb_typeof(queue) <> 'string' then format('%s: must be a string, not %s', place, jsonb_typeof(queue))
	when queue #>> '{}' !~ '^[A-Za-z0-9._-]{0,100}$' then place || ': must be up to 100 characters of A-Z a-z 0-9 . _ -'
end;

-- Why a name (operation, entrypoint) is refused; null when it is fine.
create or replace function kser.name_problem(name jsonb, place text) returns text language sql immutable parallel safe
return case
	when name is null or name = 'null' then place || ': is missing'
	when jsonb_typeof(name) <> 'string' then format('%s: must be a string, not %s', place, jsonb_typeof(name))
	when octet_length(name #>> '{}') not between 1 and kser.bound('entrypoint_bytes') then format('%s: must have 1 to %s bytes, has %s', place, kser.bound('entrypoint_bytes'), octet_length(name #>> '{}'))
	when name #>> '{}' ~ '[\u0001-\u001f\u007f-\u009f]' then place || ': has a control character'
end;

-- Why a member that is to be an object is refused; null when it is fine or absent.
create or replace function kser.object_problem(value jsonb, place text) returns text language sql immutable parallel safe
return case
	when value is null or value in ('null', '{}') then null
	when jsonb_typeof(value) <> 'object' then format('%s: must be an object, not %s', place, jsonb_typeof(value))
	else kser.json_problem(value, place)
end;

-- Why one task of a submission or plan is refused, with its place; null when it is fine.
create or replace function kser.task_problem(task jsonb, place text) returns text language sql immutable parallel safe
return case
	when jsonb_typeof(task) <> 'object' then format('%s: must be an object, not %s', place, jsonb_typeof(task))
	when task - array['entrypoint', 'params', 'queue', 'policy', 'uuid', 'metadata'] <> '{}'
		then format('%s: unknown key %s; known are entrypoint, params, queue, policy, uuid, metadata', place,
			left((select to_json(k)::text from jsonb_object_keys(task - array['entrypoint', 'params', 'queue', 'policy', 'uuid', 'metadata']) as k limit 1), 100))
	when coalesce(jsonb_typeof(task -> 'uuid'), 'null') <> 'null' and (jsonb_typeof(task -> 'uuid') <> 'string'
		or task ->> 'uuid' !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') then place || '.uuid: is not a uuid'
	else coalesce(kser.name_problem(task -> 'entrypoint', place || '.entrypoint'),
		kser.object_problem(task -> 'params', place || '.params'),
		kser.object_problem(task -> 'metadata', place || '.metadata'),
		kser.queue_problem(task -> 'queue', place || '.queue'),
		kser.policy_problem(task -> 'policy', place || '.policy'))
end;

-- Why a list of tasks is refused: the first problem in it; null when it is fine.
create or replace function kser.tasks_problem(tasks jsonb, place text) returns text language sql immutable parallel safe
return case
	when jsonb_typeof(tasks) <> 'array' then format('%s: must be an array, not %s', place, jsonb_typeof(tasks))
	when tasks = '[]' then place || ': is empty; an operation has at least one task'
	when jsonb_array_length(tasks) > kser.bound('operation_tasks') then format('%s: has %s tasks, the limit is %s', place, jsonb_array_length(tasks), kser.bound('operation_tasks'))
	else (select problem from (
		select kser.task_problem(task, format('%s[%s]', place, ordinality - 1)) as problem, ordinality from jsonb_array_elements(tasks) with ordinality as list (task)
	) as checked where problem is not null order by ordinality limit 1)
end;
