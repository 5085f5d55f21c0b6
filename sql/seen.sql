-- A worker's heartbeat: who it is, what it serves. detail: {queue, version, host, pid, slots, free,
-- waiting, claims, partitions: [integer], entrypoints: [{name, required}], leaving}.
-- Old incarnations that left or went silent are dropped after a day.
create or replace function kser.seen(worker text, detail jsonb) returns void language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	t constant timestamptz := clock_timestamp();
	of_queue constant text := coalesce(detail ->> 'queue', '');
begin
	insert into workers as w (incarnation, host, pid, queue, version, slots, free, waiting, claims, partitions, entrypoints, started_at, seen_at)
	values (left(worker, 100), left(detail ->> 'host', 255), (detail ->> 'pid')::bigint::integer, of_queue, left(detail ->> 'version', 100), (detail ->> 'slots')::integer, (detail ->> 'free')::integer,
		(detail ->> 'waiting')::integer, (detail ->> 'claims')::integer, array(select e::integer from jsonb_array_elements(case when jsonb_typeof(detail -> 'partitions') = 'array' then detail -> 'partitions' else '[]' end) as e
			where jsonb_typeof(e) = 'number' and e::text ~ '^[0-9]{1,7}$'),
		array(select e ->> 'name' from jsonb_array_elements(coalesce(detail -> 'entrypoints', '[]')) as e where e ->> 'name' is not null), t, t)
	on conflict (incarnation) do update set seen_at = t, free = excluded.free, slots = excluded.slots, waiting = excluded.waiting, claims = excluded.claims, partitions = excluded.partitions,
		left_at = coalesce(w.left_at, case when (detail ->> 'leaving')::boolean then t end), -- an older one may come behind the last
		entrypoints = case when detail ? 'entrypoints' then excluded.entrypoints else w.entrypoints end;
	if detail ? 'entrypoints' then
		insert into entrypoints (queue, name, required, seen_at)
		select distinct on (e ->> 'name') of_queue, e ->> 'name', array(select jsonb_array_elements_text(coalesce(e -> 'required', '[]'))), t
		from jsonb_array_elements(detail -> 'entrypoints') as e where e ->> 'name' is not null
		on conflict (queue, name) do update set required = excluded.required, seen_at = t;
		delete from workers where seen_at < t - interval '1 day';
	end if;
end
$$;
