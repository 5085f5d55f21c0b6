-- kser.apply_results with its arrays in order.
select input, verdict, freed, ended_partition, uuid, operation_id, position, attempt, generation, epoch, partition, entrypoint, params, metadata, deadline_ms, limit_ms, start_by_ms, flags, queue
from kser.apply_results($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
