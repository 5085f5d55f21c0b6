-- The part of apply_results for ended tasks whose successor was not started: the operation ends, the task is tried again,
-- the successor waits (held, another queue) or cannot be sent. The task rows are locked. For each: the queue whose window has a
-- place more, and the partition that answered. While the installation is halted a successor waits until there is a new generation. Successors started by this call have its `t` as dispatched_at.
create or replace function kser.finish_steps(t timestamptz, inputs integer[], operations uuid[], positions integer[], statuses kser.status[], queues text[], partitions integer[],
	totals json[], temporaries boolean[], is_halted boolean)
returns table (input integer, freed text, ended_partition integer) language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	step record;
begin
	-- Ended as planned: no next task. A key that holds while the operation is active goes with it.
	with ended as (
	update operations o set status = 'SUCCESS', finished_at = t, retcode = k.retcode, error = null, stdout = coalesce(totals[w.input] ->> 'stdout', k.stdout),
		stderr = coalesce(totals[w.input] ->> 'stderr', k.stderr), retval = coalesce(totals[w.input] -> 'retval', k.retval)
	from unnest(inputs, operations, positions, statuses) as w (input, operation, position, status)
	join tasks k on k.operation_id = w.operation and k.position = w.position
	where w.status = 'SUCCESS' and o.id = w.operation and o.status = 'RUNNING'
		and not exists (select from tasks n where n.operation_id = w.operation and n.position = w.position + 1)
	returning o.id, o.key
	), noted as (
		-- As note_ended does it for one.
		insert into ended_operations (operation_id) select e.id from ended e where (select m.traced_until > t from meta m)
	)
	delete from keys k using ended e where k.key = e.key and k.operation_id = e.id and k.until is null;

	for step in
		select w.input, k.operation_id, k.position, k.attempt, k.status, k.policy, k.failures, k.queue, o.priority, o.status as operation_status, o.held,
			n.position as next_position, n.queue as next_queue, n.attempt as next_attempt, n.status as next_status
		from unnest(inputs, operations, positions, statuses) as w (input, operation, position, status)
		join tasks k on k.operation_id = w.operation and k.position = w.position
		join operations o on o.id = w.operation
		left join tasks n on n.operation_id = w.operation and n.position = w.position + 1
		where o.status = 'RUNNING' and (w.status = 'FAILED' or n.status = 'PENDING')
	loop
		if step.status = 'FAILED' then
			perform fail_step(t, step.operation_id, step.position, coalesce(temporaries[step.input], false), totals[step.input]);
		elsif not step.held and step.next_queue <> step.queue then
			insert into ready (queue, priority, due_at, operation_id, position, attempt, started)
			values (step.next_queue, step.priority, t, step.operation_id, step.next_position, step.next_attempt, true);
			perform wake();
		elsif not step.held and not is_halted then
			-- Neither held nor elsewhere nor halted, yet not started: its message would not fit a record.
			update tasks set status = 'FAILED', finished_at = t, retcode = 413, error = 'TooLarge', failures = least(failures + 1, 32767),
				stderr = format('the message would exceed %s bytes: params, metadata and the result so far', bound('message_bytes'))
			where operation_id = step.operation_id and position = step.next_position;
			perform end_operation(t, step.operation_id, step.next_position, null);
		end if;
	end loop;

	return query
	select w.input, w.queue, w.partition
	from unnest(inputs, operations, positions, queues, partitions) as w (input, operation, position, queue, partition)
	where not exists (select from tasks n where n.operation_id = w.operation and n.position = w.position + 1 and n.status = 'RUNNING' and n.dispatched_at = t);
end
$$;

-- Whether a successor's message fits a record. Sizes in bytes.
create or replace function kser.successor_fits(result_bytes integer, params json, of_task json, of_operation json) returns boolean language sql immutable parallel safe
return coalesce(result_bytes, 0) + octet_length(params::text) + octet_length(of_operation::text) + coalesce(octet_length(of_task::text), 0)
	< kser.bound('message_bytes') - kser.bound('stamp_bytes');
