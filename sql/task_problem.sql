-- Why a queue's name is refused; null when it is fine or absent.
create or replace function kser.queue_problem(queue jsonb, place text) returns text language plpgsql immutable strict parallel safe as $$
begin
	if queue = 'null' then
		return null;
	elsif jsonb_typeof(queue) <> 'string' then
		return format('%s: must be a string, not %s', place, jsonb_typeof(queue));
	elsif queue #>> '{}' !~ '^[A-Za-z0-9._-]{0,100}$' then
		return place || ': must be up to 100 characters of A-Z a-z 0-9 . _ -';
	end if;
	return null;
end
$$;

-- Why a name (operation, entrypoint) is refused; null when it is fine.
create or replace function kser.name_problem(name jsonb, place text) returns text language plpgsql immutable parallel safe as $$
declare
	given constant text := name #>> '{}';
begin
	if given is null then
		return place || ': is missing';
	elsif jsonb_typeof(name) <> 'string' then
		return format('%s: must be a string, not %s', place, jsonb_typeof(name));
	elsif octet_length(given) not between 1 and kser.bound('entrypoint_bytes') then
		return format('%s: must have 1 to %s bytes, has %s', place, kser.bound('entrypoint_bytes'), octet_length(given));
	elsif given ~ '[\u0001-\u001f\u007f-\u009f]' then
		return place || ': has a control character';
	end if;
	return null;
end
$$;

-- Why a member that is to be an object is refused; null when it is fine or absent.
create or replace function kser.object_problem(value jsonb, place text) returns text language plpgsql immutable strict parallel safe as $$
begin
	if value in ('null', '{}') then
		return null;
	elsif jsonb_typeof(value) <> 'object' then
		return format('%s: must be an object, not %s', place, jsonb_typeof(value));
	end if;
	return kser.json_problem(value, place);
end
$$;

-- Why one task of a submission or plan is refused, with its place; null when it is fine.
create or replace function kser.task_problem(task jsonb, place text) returns text language plpgsql immutable parallel safe as $$
begin
	if jsonb_typeof(task) <> 'object' then
		return format('%s: must be an object, not %s', place, jsonb_typeof(task));
	elsif task - array['entrypoint', 'params', 'queue', 'policy', 'uuid', 'metadata'] <> '{}' then
		return kser.unknown_key(task, place || ':', array['entrypoint', 'params', 'queue', 'policy', 'uuid', 'metadata']);
	elsif coalesce(jsonb_typeof(task -> 'uuid'), 'null') <> 'null' and (jsonb_typeof(task -> 'uuid') <> 'string'
			or task ->> 'uuid' !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') then
		return place || '.uuid: is not a uuid';
	end if;
	return coalesce(kser.name_problem(task -> 'entrypoint', place || '.entrypoint'),
		kser.object_problem(task -> 'params', place || '.params'),
		kser.object_problem(task -> 'metadata', place || '.metadata'),
		kser.queue_problem(task -> 'queue', place || '.queue'),
		kser.policy_problem(task -> 'policy', place || '.policy'));
end
$$;

-- Why a list of tasks is refused: the first problem in it; null when it is fine.
create or replace function kser.tasks_problem(tasks jsonb, place text) returns text language plpgsql immutable parallel safe as $$
begin
	if jsonb_typeof(tasks) <> 'array' then
		return format('%s: must be an array, not %s', place, jsonb_typeof(tasks));
	elsif tasks = '[]' then
		return place || ': is empty; an operation has at least one task';
	elsif jsonb_array_length(tasks) > kser.bound('operation_tasks') then
		return format('%s: has %s tasks, the limit is %s', place, jsonb_array_length(tasks), kser.bound('operation_tasks'));
	end if;
	return (select problem from (
		select kser.task_problem(task, place || '[' || ordinality - 1 || ']') as problem, ordinality from jsonb_array_elements(tasks) with ordinality as list (task)
	) as checked where problem is not null order by ordinality limit 1);
end
$$;
