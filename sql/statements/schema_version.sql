-- The installed version and whether the functions are those of the hash $1; no row: nothing installed.
select schema_version, functions_hash = $1::text from kser.meta
