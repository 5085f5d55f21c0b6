-- The state machine's step: ends the tasks that a batch of results names, starts their successors, ends operations.
-- The reference; the caller dispatches what comes back once this has committed.
--
-- Parallel arrays, one element for each result, sorted by (operation, position); a null array is all null:
--   uuids, operations, positions, attempts, generations, epochs   the dispatch that is answered, as its stamp tells
--   answers       the reply record: partition << 48 | offset
--   retcodes      0 is success
--   errors        the error's name
--   stdouts, stderrs, retvals   the task's own part of the result; null: nothing
--   totals        the accumulated Result where it is more than the task's own part
--   plans         the tasks that the task returned
--   temporaries   true: the task said that it may be tried again
--   workers       the worker's incarnation
--   bytes         size of the accumulated Result, which the successor's message carries
--   targets       the task partition for a successor
-- careful: false waits for locked rows up to lock_timeout and may fail with 55P03; true waits for nobody, what is locked is busy.
--
-- One row for each result: `input` counts from 1, `verdict` says
--   won      it ended its task; `freed` is the queue in whose window a place became free (null: the successor took it)
--   repeated the very record that ended the task came again
--   late     the task is at another attempt, or was ended by another record
--   stale    of another generation        unknown  no such task        ahead  its epoch is not yet: the database was set back
--   busy     locked by somebody: try again
-- While the installation is halted no successor is started. What somebody wants ended (kser.stops) goes on to nothing.
-- and, where `uuid` is not null, the dispatch to send: the successor's (won), or once more (repeated).
create or replace function kser.apply_results(uuids uuid[], operations uuid[], positions integer[], attempts integer[], generations bigint[], epochs bigint[],
	answers bigint[], retcodes integer[], errors text[], stdouts text[], stderrs text[], retvals json[], totals json[], plans jsonb[], temporaries boolean[],
	workers text[], bytes integer[], targets integer[], careful boolean)
returns table (input integer, verdict text, freed text, ended_partition integer, uuid uuid, operation_id uuid, "position" integer, attempt integer, generation bigint,
	epoch bigint, partition integer, entrypoint text, params json, metadata json, deadline_ms bigint, limit_ms bigint, start_by_ms bigint, flags integer, queue text)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
	m meta;
	got integer[];   -- careful: the inputs whose task row is locked by us
	won record;      -- parallel arrays about the inputs that ended a task
	stopped integer[] := '{}'; -- the inputs among them whose operation somebody wants ended
	stopped_input integer;
	plan_input integer;
	going_on bigint := 0;
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception using errcode = '25001', message = 'apply_results needs READ COMMITTED';
	end if;
	select * into m from meta;
	if careful then
		got := array(
			select l.input::integer from unnest(operations, positions) with ordinality as r (operation, position, input),
				lateral (select r.input from tasks k where k.operation_id = r.operation and k.position = r.position for update skip locked) as l
			order by r.operation, r.position);
	end if;

	-- Compare-and-set. Filter first, then remove duplicates: else a stale row can shadow the valid one.
	with usable as (
		select distinct on (operation, position, uuid, attempt) *
		from unnest(operations, positions, uuids, attempts, generations, epochs, answers, retcodes, errors, stdouts, stderrs, retvals, workers)
			with ordinality as r (operation, position, uuid, attempt, generation, epoch, answer, retcode, error, stdout, stderr, retval, worker, input)
		where generation = m.generation and epoch <= m.epoch and (not careful or input = any (got))
		order by operation, position, uuid, attempt, input
	), ended as (
		update tasks k set status = (case when r.retcode = 0 then 'SUCCESS' else 'FAILED' end)::status, finished_at = t, answer = r.answer,
			retcode = r.retcode, error = r.error, stdout = r.stdout, stderr = r.stderr, retval = r.retval, worker = r.worker,
			failures = least(k.failures + (r.retcode <> 0)::integer, 32767)
		from usable r
		where k.operation_id = r.operation and k.position = r.position and k.status = 'RUNNING' and k.uuid = r.uuid and k.attempt = r.attempt
		returning r.input::integer, k.operation_id, k.position, k.status, k.partition, k.queue, k.mark
	)
	select coalesce(array_agg(e.input), '{}') as inputs, array_agg(e.operation_id) as operations, array_agg(e.position) as positions,
		array_agg(e.status) as statuses, array_agg(e.partition) as partitions, array_agg(e.queue) as queues, count(*) as number,
		bool_or(e.mark <> 0) as any_marked
	into won from ended e;

	if won.any_marked then
		-- But for the success of a last task: it has ended before it could be stopped.
		stopped := array(select w.input from unnest(won.inputs, won.operations, won.positions, won.statuses) as w (input, operation, position, status)
			join stops s on s.operation_id = w.operation and s.position = w.position
			where w.status = 'FAILED' or plans[w.input] is not null or exists (select from tasks n where n.operation_id = w.operation and n.position = w.position + 1));
	end if;
	if plans is not null then
		for plan_input in select w.input from unnest(won.inputs, won.statuses) as w (input, status) where w.status = 'SUCCESS' and plans[w.input] is not null and not w.input = any (stopped) loop
			perform take_plan(operations[plan_input], positions[plan_input], plans[plan_input]);
		end loop;
		-- A plan that cannot be inserted has made its task FAILED.
		select array_agg(k.status order by w.place) into won.statuses
		from unnest(won.operations, won.positions) with ordinality as w (operation, position, place)
		join tasks k on k.operation_id = w.operation and k.position = w.position;
	end if;

	if stopped <> '{}' then
		won.statuses := array(select case when w.input = any (stopped) then null else w.status end from unnest(won.inputs, won.statuses) with ordinality as w (input, status, place) order by w.place);
	end if;

	-- Successors, in a fresh statement: `held` is read after every wait for the task's row.
	if won.number > 0 and m.halted is null then
		return query
		with started as (
			update tasks n set status = 'RUNNING', attempt = n.attempt + 1, epoch = m.epoch, partition = targets[w.input], dispatched_at = t
			from unnest(won.inputs, won.operations, won.positions, won.statuses, won.queues, won.partitions) as w (input, operation, position, status, queue, partition)
			join operations o on o.id = w.operation
			where w.status = 'SUCCESS' and n.operation_id = w.operation and n.position = w.position + 1 and n.status = 'PENDING' and n.queue = w.queue
				and o.status = 'RUNNING' and not o.held and successor_fits(bytes[w.input], n.params, n.metadata, o.metadata)
			returning w.input, w.partition as ended_partition, n.uuid, n.operation_id, n.position, n.attempt, n.partition, n.entrypoint, n.params,
				n.metadata, o.metadata as operation_metadata, o.deadline_at, n.policy, n.crashes, n.queue
		)
		select s.input, 'won', null::text, s.ended_partition, s.uuid, s.operation_id, s.position, s.attempt, m.generation, m.epoch, s.partition, s.entrypoint, s.params,
			merged_metadata(s.operation_metadata, s.metadata), unix_ms(s.deadline_at), limit_ms(s.policy), start_by_ms(t, s.policy), dispatch_flags(s.crashes, s.policy), s.queue
		from started s;
		get diagnostics going_on = row_count;
	end if;
	foreach stopped_input in array stopped loop
		perform end_stopped(t, operations[stopped_input], positions[stopped_input], totals[stopped_input]);
	end loop;
	if going_on < won.number then
		return query select f.input, 'won', f.freed, f.ended_partition, null::uuid, null::uuid, null::integer, null::integer, null::bigint, null::bigint,
			null::integer, null::text, null::json, null::json, null::bigint, null::bigint, null::bigint, null::integer, null::text
		from finish_steps(t, won.inputs, won.operations, won.positions, won.statuses, won.queues, won.partitions, totals, temporaries, m.halted is not null) as f;
	end if;
	if won.any_marked then
		perform forget_marks(won.operations, won.positions);
	end if;
	if won.number > 0 and exists (select from claims) then
		delete from claims c using unnest(won.operations, won.positions) as w (operation, position) where c.operation_id = w.operation and c.position = w.position;
	end if;
	if won.number < cardinality(uuids) then
		return query select * from lost_results(m, won.inputs, got, uuids, operations, positions, attempts, generations, epochs, answers, retcodes, errors, workers, retvals);
	end if;
end
$$;
