-- $1 older than, $2 after.
select deleted, next from kser.purge_history($1::interval, $2::bigint)
