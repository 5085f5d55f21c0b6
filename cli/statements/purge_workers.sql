-- $1 older than.
select workers, entrypoints from kser.purge_workers($1::interval)
