-- $1 older than, $2 after.
select deleted as operations, tasks, next from kser.purge($1::interval, $2::uuid)
