-- $1 worker, $2 names as jsonb.
select queue, freed from kser.release($1, $2)
