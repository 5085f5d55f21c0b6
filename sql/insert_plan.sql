-- Inserts a plan, an array of tasks, right behind a task that has just ended; its row is locked by the caller.
-- Later positions make room in two statements, through negatives: one would hit the primary key.
create or replace function kser.insert_plan(operation uuid, after integer, plan jsonb) returns void language plpgsql volatile as $$
declare
	room constant integer := jsonb_array_length(plan);
begin
	update kser.tasks set position = -position where operation_id = operation and position > after;
	update kser.tasks set position = -position + room where operation_id = operation and position < 0;
	insert into kser.tasks (operation_id, position, uuid, entrypoint, queue, policy, metadata, params)
	select o.id, after + ordinality, kser.uuid_v7(), task ->> 'entrypoint', coalesce(task ->> 'queue', o.queue),
		kser.merged_policy(d.policy, o.policy::jsonb, task -> 'policy'),
		nullif(task -> 'metadata', 'null')::json, coalesce(nullif(task -> 'params', 'null'), '{}')::json
	from kser.operations o cross join jsonb_array_elements(plan) with ordinality as list (task)
	left join kser.policies d on d.entrypoint = task ->> 'entrypoint'
	where o.id = operation;
end
$$;

-- Why a plan cannot be inserted into an operation; null when it can.
create or replace function kser.plan_problem(operation uuid, plan jsonb) returns text language sql stable
return case
	when plan = '[]' then 'Nothing to do, empty operation !'
	else coalesce(kser.tasks_problem(plan, 'tasks'), (
		select format('tasks: the operation would have %s tasks, the limit is %s', count(*) + jsonb_array_length(plan), kser.bound('operation_tasks'))
		from kser.tasks where operation_id = operation having count(*) + jsonb_array_length(plan) > kser.bound('operation_tasks')), (
		select format('tasks[%s].policy.max_attempts: 0 (no limit) needs a budget or a deadline of the operation', ordinality - 1)
		from kser.operations o cross join jsonb_array_elements(plan) with ordinality as list (task) left join kser.policies d on d.entrypoint = task ->> 'entrypoint'
		where o.id = operation and kser.is_endless(kser.merged_policy(d.policy, o.policy::jsonb, task -> 'policy'), o.deadline_at) order by ordinality limit 1))
end;
