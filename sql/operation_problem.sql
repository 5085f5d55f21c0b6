-- Why one submission is refused, with its place ('' or operations[3].); null when it is fine.
create or replace function kser.operation_problem(o jsonb, place text) returns text language sql immutable parallel safe
return case
	when jsonb_typeof(o) <> 'object' then format('%s: must be an object, not %s', rtrim(place, '.'), jsonb_typeof(o))
	when o - array['name', 'tasks', 'params', 'key', 'key_for', 'priority', 'queue', 'start_at', 'deadline', 'policy', 'metadata'] <> '{}'
		then format('%sunknown key %s; known are name, tasks, params, key, key_for, priority, queue, start_at, deadline, policy, metadata', place,
			left((select to_json(k)::text from jsonb_object_keys(o - array['name', 'tasks', 'params', 'key', 'key_for', 'priority', 'queue', 'start_at', 'deadline', 'policy', 'metadata']) as k limit 1), 100))
	when coalesce(jsonb_typeof(o -> 'key'), 'null') not in ('null', 'string') or octet_length(o ->> 'key') not between 1 and 255
		then place || 'key: must be a string of 1 to 255 bytes'
	when coalesce(jsonb_typeof(o -> 'key_for'), 'null') <> 'null' and coalesce(jsonb_typeof(o -> 'key'), 'null') = 'null' then place || 'key_for: needs a key'
	when coalesce(jsonb_typeof(o -> 'priority'), 'null') <> 'null' and (jsonb_typeof(o -> 'priority') <> 'number'
		or o ->> 'priority' !~ '^-?[0-9]{1,7}$' or (o ->> 'priority')::integer not between -1000000 and 1000000)
		then place || 'priority: must be an integer from -1000000 to 1000000'
	when coalesce(jsonb_typeof(o -> 'start_at'), 'null') <> 'null' and (jsonb_typeof(o -> 'start_at') <> 'string'
		or o ->> 'start_at' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$')
		then place || 'start_at: is not a time such as 2026-01-31T23:59:00+01:00'
	else coalesce(kser.name_problem(o -> 'name', place || 'name'),
		kser.object_problem(o -> 'params', place || 'params'),
		kser.object_problem(o -> 'metadata', place || 'metadata'),
		kser.queue_problem(o -> 'queue', place || 'queue'),
		kser.duration_problem(o -> 'deadline', place || 'deadline', '1ms'),
		kser.duration_problem(o -> 'key_for', place || 'key_for', '1ms'),
		kser.policy_problem(o -> 'policy', place || 'policy'),
		case when coalesce(jsonb_typeof(o -> 'tasks'), 'null') <> 'null' then kser.tasks_problem(o -> 'tasks', place || 'tasks') end)
end;
