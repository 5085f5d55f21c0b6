-- A duration in JSON: a number of seconds, or a text such as 250ms, 30s, 5m, 2h, 1d. Reading a text is no matter of constants for the planner, so that it does
-- not put the body in the place of the call: where there mostly is none, ask first.
create or replace function kser.duration(value jsonb) returns interval language sql immutable parallel safe
return case jsonb_typeof(value)
	when 'number' then make_interval(secs => (value #>> '{}')::float8)
	when 'string' then (value #>> '{}')::interval
end;

-- Why a value is no duration from `shortest` to ten years; null when it is one (or absent).
create or replace function kser.duration_problem(value jsonb, place text, shortest interval) returns text language plpgsql immutable strict parallel safe as $$
begin
	if value = 'null' then
		return null;
	elsif jsonb_typeof(value) = 'number' and (value #>> '{}')::numeric not between 0 and 315360000 then
		return place || ': is outside of 0 to 315360000 seconds (ten years)';
	elsif jsonb_typeof(value) not in ('number', 'string') or jsonb_typeof(value) = 'string' and (value #>> '{}') !~ '^[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d)$' then
		return place || ': is not a duration (a number of seconds, or a text such as 250ms, 30s, 5m, 2h, 1d)';
	elsif kser.duration(value) < shortest then
		return format('%s: must be at least %s', place, shortest);
	elsif kser.duration(value) > interval '3650 days' then
		return place || ': must be at most 3650d';
	end if;
	return null;
end
$$;
