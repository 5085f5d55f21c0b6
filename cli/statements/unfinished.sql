-- One row: which of these operations have not ended, as the text of a uuid[], and one that does not exist (null: all do).
--   $1 uuid[]: the operations
select coalesce(array_agg(wanted.id) filter (where operations.status in ('PENDING', 'RUNNING')), '{}')::text as unfinished,
	(array_agg(wanted.id) filter (where operations.id is null))[1] as missing
from unnest($1::uuid[]) as wanted (id) left join kser.operations using (id);
