-- $1 at, $2 since, $3 the lease.
select operation_id, position, attempt, worker from kser.expire($1, $2, $3)
