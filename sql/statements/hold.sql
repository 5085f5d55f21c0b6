-- $1 worker, $2 names as jsonb, $3 lease. The names that are to stop.
select operation_id, position, uuid, attempt, generation from kser.hold($1, $2, $3)
