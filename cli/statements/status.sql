-- The status of one operation; no row when it does not exist.
--   $1 uuid: its id
select status from kser.operations where id = $1::uuid;
