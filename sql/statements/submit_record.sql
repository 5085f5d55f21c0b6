-- A submission that came as a record of the topic of operations: $1 one element of submit_many's list.
select kser.submit_many(jsonb_build_array($1::jsonb))
