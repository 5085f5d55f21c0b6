-- How long a task waits after its nth failure before it is tried again; null: no tries are left.
-- temporary: the task itself said that it may be tried again; without a limit in the policy it then has 3 tries instead of 1.
create or replace function kser.retry_delay(policy json, failures integer, temporary boolean) returns interval language plpgsql volatile as $$
declare
	p constant jsonb := coalesce(policy::jsonb, '{}');
	-- In seconds, as numbers that cannot overflow: durations have at most nine digits.
	delay float8 := extract(epoch from coalesce(kser.duration(p -> 'delay'), '1s'));
	max_delay constant float8 := extract(epoch from coalesce(kser.duration(p -> 'max_delay'), '1m'));
	jitter constant float8 := coalesce((p ->> 'jitter')::float8, 0.2);
begin
	if failures >= coalesce((p ->> 'max_attempts')::integer, case when temporary then 3 else 1 end) then
		return null;
	end if;
	delay := delay * case p ->> 'backoff' when 'fixed' then 1 when 'linear' then failures else power(2::float8, least(failures - 1, 60)) end;
	return make_interval(secs => least(delay, max_delay) * (1 - jitter * random()));
end
$$;
