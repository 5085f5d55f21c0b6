-- The run limit that a policy gives one attempt, in milliseconds; null: none.
create or replace function kser.limit_ms(policy json) returns bigint language sql immutable parallel safe
return case when policy is not null then (extract(epoch from kser.duration((policy -> 'timeout')::jsonb)) * 1000)::bigint end;

-- Milliseconds since 1970; null for null. Stable, as what it calls: only then the planner puts its body in the place of the call.
create or replace function kser.unix_ms(moment timestamptz) returns bigint language sql stable parallel safe
return (extract(epoch from moment) * 1000)::bigint;

-- Microseconds since 1970.
create or replace function kser.unix_us(at timestamptz) returns bigint language sql immutable parallel safe
return (extract(epoch from at) * 1000000)::bigint;

-- When an attempt that starts now may begin at the latest, in milliseconds since 1970; null: whenever.
create or replace function kser.start_by_ms(dispatched_at timestamptz, policy json) returns bigint language sql stable parallel safe
return case when policy is not null then (extract(epoch from dispatched_at + kser.duration((policy -> 'start_within')::jsonb)) * 1000)::bigint end;

-- What a worker has to heed: 1 claim it before the start (an earlier attempt lost its worker); 2 run it alone (two did);
-- 4 end it when heartbeats are not acknowledged.
create or replace function kser.dispatch_flags(crashes integer, policy json) returns integer language sql immutable parallel safe
return case when crashes >= 2 then 3 when crashes = 1 then 1 else 0 end + case when policy is not null and policy ->> 'on_silence' = 'stop' then 4 else 0 end;
