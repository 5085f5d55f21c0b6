-- Why an operation stands where it stands; no row when it does not exist.
--   $1 uuid: the operation
select code, finding, remedy from kser.explain($1::uuid);
