-- Lets FAILED operations run again, waiting for nobody: a row for each, by id.
--   $1 uuid[]: the operations   $2 text: why   $3 boolean: also where the last attempt may still run
--   $4 bigint, milliseconds: the new deadline; null: it keeps the one it had
select operation_id as id, answer, detail from kser.retry_many($1::uuid[], $2::text, $3::boolean, $4::bigint * interval '1 ms');
