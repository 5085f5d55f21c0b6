-- $1 the worker's incarnation, $2 names of tasks that it holds, $3 the lease. Rows: those that it is to stop.
select operation_id, position, uuid, attempt, generation from kser.hold($1, $2, $3)
