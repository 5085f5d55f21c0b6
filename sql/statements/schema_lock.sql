-- One migrate at a time: waits for the other.
select pg_advisory_lock(hashtext('kser db migrate'))
