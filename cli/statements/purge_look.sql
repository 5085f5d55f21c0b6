-- What purge.sql would delete. $1 older than, $2 after.
select cardinality(p.ids) as operations, (select coalesce(sum(size), 0) from unnest(p.sizes) as size) as tasks, p.next
from kser.purgeable(clock_timestamp() - $1::interval, $2::uuid, 1000) as p
