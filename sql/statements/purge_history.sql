-- $1 older than, $2 after, $3 at most so many.
select deleted, next from kser.purge_history($1, $2, $3)
