-- Takes the plan of a task that has just ended with SUCCESS; one that cannot be inserted makes the task FAILED.
create or replace function kser.take_plan(operation uuid, at integer, plan jsonb) returns void language plpgsql volatile as $$
declare
	problem constant text := kser.plan_problem(operation, plan);
begin
	if problem is null then
		perform kser.insert_plan(operation, at, plan);
	else
		update kser.tasks set status = 'FAILED', retcode = case when plan = '[]' then 1 else 400 end, error = 'ValidationError', failures = least(failures + 1, 32767),
			stderr = case when plan = '[]' then problem else 'the plan is refused: ' || problem end
		where operation_id = operation and position = at;
	end if;
end
$$;
