-- Workers, the last started first. state: here, silent (no word for 30 s: three heartbeats), left.
--   $1 boolean: also those that left or are silent
select incarnation as worker, state, host, pid, queue, slots, free, version, to_jsonb(entrypoints) as entrypoints, array_to_string(entrypoints, ' ') as serves,
	to_jsonb(started_at) as started_at, to_jsonb(seen_at) as seen_at, to_jsonb(left_at) as left_at
from kser.workers,
	lateral (select case when left_at is not null then 'left' when seen_at < clock_timestamp() - interval '30 s' then 'silent' else 'here' end as state) as now
where $1::boolean or state = 'here'
order by started_at desc;
