-- The run limit that a policy gives one attempt, in milliseconds; null: none.
create or replace function kser.limit_ms(policy json) returns bigint language sql immutable parallel safe
return case when policy is not null then (extract(epoch from kser.duration((policy -> 'timeout')::jsonb)) * 1000)::bigint end;

-- Milliseconds since 1970; null for null.
create or replace function kser.unix_ms(moment timestamptz) returns bigint language sql immutable parallel safe
return (extract(epoch from moment) * 1000)::bigint;
