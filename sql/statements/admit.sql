-- $1 queue, $2 target partitions, one for each place.
select uuid, operation_id, position, attempt, generation, epoch, partition, entrypoint, params, metadata, deadline_ms, limit_ms, start_by_ms, flags, result, waited_ms
from kser.admit($1, $2)
