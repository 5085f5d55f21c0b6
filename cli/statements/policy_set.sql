-- Sets the default policy of an entrypoint.
--   $1 text: the entrypoint   $2 jsonb: the policy   $3 text: why
select kser.set_policy($1::text, $2::jsonb, $3::text);
