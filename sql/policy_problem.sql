-- Why a policy (of an operation or a task) is refused; null when it is fine or absent. Keys:
--   max_attempts  1 to 1000: failures after which the task is FAILED (default 1; 3 for what a task itself calls temporary)
--   backoff       fixed, linear or exponential (default): how the delay grows with each failure
--   delay         before the first repeat (default 1s); max_delay: its cap (default 1m)
--   jitter        0 to 1, at most six decimals: the share of the delay that is drawn at random (default 0.2)
--   timeout       run limit of one attempt (default none)
create or replace function kser.policy_problem(policy jsonb, place text) returns text language plpgsql immutable parallel safe as $$
begin
	if policy is null or policy in ('null', '{}') then
		return null;
	elsif jsonb_typeof(policy) <> 'object' then
		return format('%s: must be an object, not %s', place, jsonb_typeof(policy));
	elsif policy - array['max_attempts', 'backoff', 'delay', 'max_delay', 'jitter', 'timeout'] <> '{}' then
		return kser.unknown_key(policy, place || ':', array['max_attempts', 'backoff', 'delay', 'max_delay', 'jitter', 'timeout']);
	elsif policy ? 'max_attempts' and (jsonb_typeof(policy -> 'max_attempts') <> 'number' or policy ->> 'max_attempts' !~ '^[0-9]{1,4}$'
			or (policy ->> 'max_attempts')::integer not between 1 and 1000) then
		return place || '.max_attempts: must be an integer from 1 to 1000';
	elsif policy ? 'backoff' and (jsonb_typeof(policy -> 'backoff') <> 'string' or policy ->> 'backoff' not in ('fixed', 'linear', 'exponential')) then
		return place || '.backoff: must be fixed, linear or exponential';
	elsif policy ? 'jitter' and (jsonb_typeof(policy -> 'jitter') <> 'number' or policy ->> 'jitter' !~ '^(0([.][0-9]{1,6})?|1([.]0{1,6})?)$') then
		return place || '.jitter: must be a number from 0 to 1 with at most six decimals';
	end if;
	return coalesce(kser.duration_problem(policy -> 'delay', place || '.delay', '0s'),
		kser.duration_problem(policy -> 'max_delay', place || '.max_delay', '0s'),
		kser.duration_problem(policy -> 'timeout', place || '.timeout', '1ms'));
end
$$;
