-- $1 older than, $2 after (null: from the oldest on, or, where $4 is true, from ten minutes before the horizon on), $3 at most so many.
select deleted, next from kser.purge($1::interval, coalesce($2, case when $4 then kser.first_id(clock_timestamp() - $1::interval - interval '10 min') end), $3)
