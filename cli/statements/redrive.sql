-- Asks for records that could not be used to be sent again: a row for each.
--   $1 bigint[]: their ids   $2 text: why
select id, answer, detail from kser.redrive_dead($1::bigint[], $2::text);
