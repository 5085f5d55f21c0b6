-- Drops the default policy of an entrypoint.
--   $1 text: the entrypoint   $2 text: why
select kser.drop_policy($1::text, $2::text);
