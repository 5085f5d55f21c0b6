-- What kser.apply_results does, for plain successes: one statement, one snapshot, no plpgsql. Either it does with a result what that function
-- would, or it leaves it alone and gives no row for it: then the result goes to that function.
--
-- $1 the generation of all results, $2 their highest epoch. Parallel arrays, one element for each result, sorted by (operation, position), no two
-- for one task: $3 operations, $4 positions, $5 uuids, $6 attempts, $7 answers, $8 bytes, $9 targets; a null array is all null: $10 workers,
-- $11 stdouts, $12 stderrs, $13 retvals, $14 totals. What they are is told there.
--
-- A row for each result that ended its task, input counts from 1: with `uuid` the dispatch of the successor, the operation's next position;
-- without it the operation has ended, and `freed` is the queue in whose window a place became free.
--
-- It may have waited for a task's row and then decides by a snapshot from before the wait. That is sound because whoever changes something that is
-- read here of other rows (held, the successor), or claims the task, writes the row of the current task in the same transaction (`mark`, see lock_task):
-- then the server compares that row anew, in its new version, and finds its mark.
-- The successor and the operation are found by the place that their rows had in the snapshot. Whoever changed one of them alone meanwhile has broken
-- that rule, and its new version may not be found (some minor releases of the server do, others do not): then the statement raises 40001 and has done
-- nothing, and the lane gives all its results to kser.apply_results.
with m as materialized (
	select generation, epoch, traced_until, clock_timestamp() as t from kser.meta where halted is null and generation = $1 and epoch >= $2
), done as (
	update kser.tasks k set status = 'SUCCESS', finished_at = (select t from m), answer = ($7::bigint[])[r.input], retcode = 0, error = null,
		stdout = r.stdout, stderr = r.stderr, retval = r.retval, worker = r.worker
	from rows from (generate_series(1, (select cardinality($3::uuid[]) from m)), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]), unnest($13::json[]), unnest($14::json[]))
			as r (input, worker, stdout, stderr, retval, total)
		join kser.operations o on o.id = ($3::uuid[])[r.input]
		left join kser.tasks n on n.operation_id = ($3::uuid[])[r.input] and n.position = ($4::integer[])[r.input] + 1
	-- The limits of `input` tell the planner that these are few rows, with which it begins; without them it begins with all operations.
	where r.input between 1 and 100000 and k.operation_id = ($3::uuid[])[r.input] and k.position = ($4::integer[])[r.input] and k.status = 'RUNNING'
		and k.uuid = ($5::uuid[])[r.input] and k.attempt = ($6::integer[])[r.input] and k.mark = 0 and o.status = 'RUNNING' and not o.held
		and (n.position is null or n.status = 'PENDING' and n.queue = k.queue and kser.successor_fits(($8::integer[])[r.input], n.params, n.metadata, o.metadata))
	returning r.input, k.operation_id, k.partition, k.queue, n.ctid as next, o.ctid as own, o.metadata, o.deadline_at,
		case when n.position is null then r.stdout end as stdout, case when n.position is null then r.stderr end as stderr,
		case when n.position is null then r.retval end as retval, case when n.position is null then r.total end as total
), next as (
	update kser.tasks n set status = 'RUNNING', attempt = n.attempt + 1, epoch = (select epoch from m), partition = ($9::integer[])[d.input], dispatched_at = (select t from m)
	from done d
	where n.ctid = d.next and n.operation_id = d.operation_id and n.status = 'PENDING'
	returning d.input, d.partition as ended_partition, n.queue, n.uuid, n.attempt, n.epoch, n.entrypoint, n.params, n.metadata, n.policy, n.crashes, n.dispatched_at,
		d.metadata as operation_metadata, d.deadline_at
), ended as (
	update kser.operations o set status = 'SUCCESS', finished_at = (select t from m), retcode = 0, error = null, stdout = coalesce(d.total ->> 'stdout', d.stdout),
		stderr = coalesce(d.total ->> 'stderr', d.stderr), retval = coalesce(d.total -> 'retval', d.retval)
	from done d
	where d.next is null and o.ctid = d.own and o.id = d.operation_id and o.status = 'RUNNING'
	returning d.input, d.partition, d.queue, o.id, o.key
), noted as (
	-- As note_ended does it for one.
	insert into kser.ended_operations (operation_id) select e.id from ended e where (select m.traced_until > m.t from m)
), keys as (
	delete from kser.keys k using ended e where k.key = e.key and k.operation_id = e.id and k.until is null
)
-- Successors first: all rows of tasks are locked before a row of operations is.
select n.input, null::text as freed, n.ended_partition, n.queue, n.uuid, n.attempt, n.epoch, n.entrypoint, n.params,
	kser.merged_metadata(n.operation_metadata, n.metadata) as metadata, kser.unix_ms(n.deadline_at) as deadline_ms, kser.limit_ms(n.policy) as limit_ms,
	kser.start_by_ms(n.dispatched_at, n.policy) as start_by_ms, kser.dispatch_flags(n.crashes, n.policy) as flags
from next n
union all
select e.input, e.queue, e.partition, null, null, null, null, null, null, null, null, null, null, null
from ended e
union all
select kser.changed_meanwhile(), null, null, null, null, null, null, null, null, null, null, null, null, null
where (select count(*) from done) <> (select count(*) from next) + (select count(*) from ended)
