-- Pauses operations, waiting for nobody: a row for each, by id.
--   $1 uuid[]: the operations   $2 text: why
select operation_id as id, answer, detail from kser.pause_many($1::uuid[], $2::text);
