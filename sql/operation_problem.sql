-- Why one submission is refused, with its place ('' or operations[3].); null when it is fine.
create or replace function kser.operation_problem(o jsonb, place text) returns text language plpgsql immutable parallel safe as $$
declare
	known constant text[] := array['name', 'tasks', 'params', 'key', 'key_for', 'priority', 'queue', 'start_at', 'deadline', 'policy', 'metadata'];
begin
	if jsonb_typeof(o) <> 'object' then
		return format('%s: must be an object, not %s', rtrim(place, '.'), jsonb_typeof(o));
	elsif o - known <> '{}' then
		return ltrim(kser.unknown_key(o, case when place = '' then '' else rtrim(place, '.') || ':' end, known));
	elsif coalesce(jsonb_typeof(o -> 'key'), 'null') not in ('null', 'string') or octet_length(o ->> 'key') not between 1 and 255 then
		return place || 'key: must be a string of 1 to 255 bytes';
	elsif o ->> 'key_for' is not null and o ->> 'key' is null then
		return place || 'key_for: needs a key';
	elsif o ->> 'priority' is not null and (jsonb_typeof(o -> 'priority') <> 'number'
			or o ->> 'priority' !~ '^-?[0-9]{1,7}$' or (o ->> 'priority')::integer not between -1000000 and 1000000) then
		return place || 'priority: must be an integer from -1000000 to 1000000';
	elsif o ->> 'start_at' is not null and (jsonb_typeof(o -> 'start_at') <> 'string'
			or o ->> 'start_at' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$') then
		return place || 'start_at: is not a time such as 2026-01-31T23:59:00+01:00';
	end if;
	return coalesce(kser.name_problem(o -> 'name', place || 'name'),
		kser.object_problem(o -> 'params', place || 'params'),
		kser.object_problem(o -> 'metadata', place || 'metadata'),
		kser.queue_problem(o -> 'queue', place || 'queue'),
		kser.duration_problem(o -> 'deadline', place || 'deadline', '1ms'),
		kser.duration_problem(o -> 'key_for', place || 'key_for', '1ms'),
		kser.policy_problem(o -> 'policy', place || 'policy'),
		case when o ->> 'tasks' is not null then kser.tasks_problem(o -> 'tasks', place || 'tasks') end);
end
$$;
