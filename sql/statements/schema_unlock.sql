select pg_advisory_unlock(hashtext('kser db migrate'))
