-- $1 queue, $2 epoch.
select operation_id, position, attempt from kser.lose($1, $2)
