-- $1 when the round began, $2 a time that counts as a renewal, $3 lease.
select operation_id, position, attempt, worker from kser.expire($1, $2, $3)
