-- How long a task waits after its nth failure before it is tried again; null: it is not (kser.policy_problem lists a policy's keys).
--   temporary  the task itself said that it may be tried again; without a limit in the policy it then has 3 tries instead of 1
--   spent      time since the dispatch of its first attempt that did not succeed
--   retcode, error  of this failure
create or replace function kser.retry_delay(policy json, failures integer, temporary boolean, spent interval default '0', retcode integer default null, error text default null)
returns interval language plpgsql volatile as $$
declare
	p constant jsonb := coalesce(policy::jsonb, '{}');
	-- In seconds, as numbers that cannot overflow: durations have at most nine digits.
	delay float8 := extract(epoch from coalesce(kser.duration(p -> 'delay'), '1s'));
	max_delay constant float8 := extract(epoch from coalesce(kser.duration(p -> 'max_delay'), '1m'));
	jitter constant float8 := coalesce((p ->> 'jitter')::float8, 0.2);
	tries constant integer := coalesce((p ->> 'max_attempts')::integer, case when temporary then 3 else 1 end);
begin
	if tries <> 0 and failures >= tries then
		return null;
	elsif p ? 'no_retry_on' and (p -> 'no_retry_on' @> to_jsonb(retcode) or p -> 'no_retry_on' @> to_jsonb(error)) then
		return null;
	end if;
	delay := delay * case p ->> 'backoff' when 'fixed' then 1 when 'linear' then failures else power(2::float8, least(failures - 1, 60)) end;
	delay := least(delay, max_delay) * (1 - jitter * random());
	if p ? 'budget' and extract(epoch from spent) + delay > extract(epoch from kser.duration(p -> 'budget')) then
		return null;
	end if;
	return make_interval(secs => delay);
end
$$;
