-- Why a policy's no_retry_on is refused; null when it is fine or absent.
create or replace function kser.no_retry_on_problem(list jsonb, place text) returns text language plpgsql immutable parallel safe as $$
begin
	if list is null then
		return null;
	elsif jsonb_typeof(list) <> 'array' or jsonb_array_length(list) > 100 then
		return place || ': must be an array of at most 100 retcodes (integers) and names of errors (strings)';
	elsif exists (select from jsonb_array_elements(list) as e where case jsonb_typeof(e)
			when 'number' then e::text !~ '^-?[0-9]{1,9}$' when 'string' then octet_length(e #>> '{}') not between 1 and 255 else true end) then
		return place || ': must have retcodes (integers) and names of errors (strings of 1 to 255 bytes) only';
	end if;
	return null;
end
$$;

-- Why a policy (of an entrypoint, an operation or a task) is refused; null when it is fine or absent. Keys:
--   max_attempts  1 to 1000: failures after which the task is FAILED (default 1; 3 for what a task itself calls temporary);
--                 0: no such limit, which needs a budget or a deadline of the operation
--   budget        no further try once so much time has passed since the dispatch of the first attempt that did not succeed (default none)
--   no_retry_on   retcodes and names of errors after which the task is FAILED at once
--   backoff       fixed, linear or exponential (default): how the delay grows with each failure
--   delay         before the first repeat (default 1s); max_delay: its cap (default 1m)
--   jitter        0 to 1, at most six decimals: the share of the delay that is drawn at random (default 0.2)
--   timeout       run limit of one attempt (default none)
--   start_within  an attempt that no worker has started so long after its dispatch has failed with Timeout (default none)
--   on_silence    what a worker does whose heartbeats are not acknowledged: finish (default) or stop the task
create or replace function kser.policy_problem(policy jsonb, place text) returns text language plpgsql immutable strict parallel safe as $$
declare
	known constant text[] := array['max_attempts', 'budget', 'no_retry_on', 'backoff', 'delay', 'max_delay', 'jitter', 'timeout', 'start_within', 'on_silence'];
begin
	if policy in ('null', '{}') then
		return null;
	elsif jsonb_typeof(policy) <> 'object' then
		return format('%s: must be an object, not %s', place, jsonb_typeof(policy));
	elsif policy - known <> '{}' then
		return kser.unknown_key(policy, place || ':', known);
	elsif policy ? 'max_attempts' and (jsonb_typeof(policy -> 'max_attempts') <> 'number' or policy ->> 'max_attempts' !~ '^[0-9]{1,4}$'
			or (policy ->> 'max_attempts')::integer not between 0 and 1000) then
		return place || '.max_attempts: must be an integer from 1 to 1000, or 0 for no limit';
	elsif policy ? 'backoff' and (jsonb_typeof(policy -> 'backoff') <> 'string' or policy ->> 'backoff' not in ('fixed', 'linear', 'exponential')) then
		return place || '.backoff: must be fixed, linear or exponential';
	elsif policy ? 'on_silence' and (jsonb_typeof(policy -> 'on_silence') <> 'string' or policy ->> 'on_silence' not in ('finish', 'stop')) then
		return place || '.on_silence: must be finish or stop';
	elsif policy ? 'jitter' and (jsonb_typeof(policy -> 'jitter') <> 'number' or policy ->> 'jitter' !~ '^(0([.][0-9]{1,6})?|1([.]0{1,6})?)$') then
		return place || '.jitter: must be a number from 0 to 1 with at most six decimals';
	end if;
	return coalesce(kser.no_retry_on_problem(policy -> 'no_retry_on', place || '.no_retry_on'),
		kser.duration_problem(policy -> 'delay', place || '.delay', '0s'),
		kser.duration_problem(policy -> 'max_delay', place || '.max_delay', '0s'),
		kser.duration_problem(policy -> 'budget', place || '.budget', '1ms'),
		kser.duration_problem(policy -> 'timeout', place || '.timeout', '1ms'),
		kser.duration_problem(policy -> 'start_within', place || '.start_within', '1ms'));
end
$$;

-- What holds for a task: the default of its entrypoint, the operation's policy, its own; later keys win. null: nothing.
create or replace function kser.merged_policy(of_entrypoint json, of_operation jsonb, of_task jsonb) returns json language sql stable parallel safe
return nullif(coalesce(of_entrypoint::jsonb, '{}') || coalesce(nullif(of_operation, 'null'), '{}') || coalesce(nullif(of_task, 'null'), '{}'), '{}')::json;

-- Whether a task's policy would have it tried without an end.
create or replace function kser.is_endless(policy json, deadline_at timestamptz) returns boolean language sql immutable parallel safe
return policy is not null and deadline_at is null and policy ->> 'max_attempts' = '0' and (policy ->> 'budget') is null;
