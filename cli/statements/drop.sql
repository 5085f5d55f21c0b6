-- Deletes records that could not be used: a row for each.
--   $1 bigint[]: their ids   $2 text: why
select id, answer, detail from kser.drop_dead($1::bigint[], $2::text);
