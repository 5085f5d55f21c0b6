-- Submits operations; the ids in the order given.
--   $1 jsonb: array of objects with the names of kser.submit's parameters
select id from kser.submit_many($1::jsonb) as id;
