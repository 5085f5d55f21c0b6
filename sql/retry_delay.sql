-- How long a task waits after its nth failure before it is tried again; null: no tries are left.
-- temporary: the task itself said that it may be tried again; without a limit in the policy it then has 3 tries instead of 1.
create or replace function kser.retry_delay(policy json, failures integer, temporary boolean) returns interval language plpgsql volatile as $$
declare
	p constant jsonb := coalesce(policy::jsonb, '{}');
	delay interval := coalesce(kser.duration(p -> 'delay'), '1s');
	jitter constant float8 := coalesce((p ->> 'jitter')::float8, 0.2);
begin
	if failures >= coalesce((p ->> 'max_attempts')::integer, case when temporary then 3 else 1 end) then
		return null;
	end if;
	delay := delay * case p ->> 'backoff' when 'fixed' then 1 when 'linear' then failures else power(2, least(failures - 1, 30)) end;
	return least(delay, coalesce(kser.duration(p -> 'max_delay'), '1m')) * (1 - jitter * random());
end
$$;
