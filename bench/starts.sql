-- How long it took from a step's finished_at, read from the clock when the statement that applied its result began, to the start of the next step in the
-- worker, in milliseconds: it includes that statement, its commit, Kafka and the wait for a slot. Then, of first steps, from the submit to their start.
-- The parameter: the least operation. One row: steps, p50, p90, p99, p50 and p99 of first steps.
with starts as (
	select t.position, (t.retval ->> 'at_us')::float / 1000
		- extract(epoch from coalesce(lag(t.finished_at) over (partition by t.operation_id order by t.position), o.created_at))::float * 1000 as ms
	from kser.tasks t join kser.operations o on o.id = t.operation_id
	where t.operation_id >= %s
)
select count(*), percentile_disc(0.5) within group (order by ms) filter (where position > 0), percentile_disc(0.9) within group (order by ms) filter (where position > 0),
	percentile_disc(0.99) within group (order by ms) filter (where position > 0), percentile_disc(0.5) within group (order by ms) filter (where position = 0),
	percentile_disc(0.99) within group (order by ms) filter (where position = 0)
from starts
