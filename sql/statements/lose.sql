-- $1 queue, $2 epoch of the round.
select operation_id, position, attempt from kser.lose($1, $2)
