-- Rows of `ready` of one queue that are due at `t`, locked, by priority, then due time: at most `places`. Locked ones are passed over.
--
-- Rows that were admitted lie before those that still wait, and while somebody keeps a snapshot from before (a long query, a dump) they cannot be cleaned up.
-- Where such a look is dear (dear_until), the session remembers how far each priority was worked off and begins there. Then a row that comes late (its submit
-- was open for longer than `late`, its task was locked) waits for the next look from the start.
create or replace function kser.due(queue_name text, t timestamptz, places integer) returns tid[] language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	late constant interval := '100 ms';
	memory constant jsonb := coalesce(nullif(current_setting('kser.worked_off', true), ''), '{}');
	known jsonb := memory -> queue_name;  -- "at", "until": when it was made, holds until; "levels": {priority: due time}
	used jsonb := '{}';                   -- the levels, where they hold
	level record;
	below bigint := 2147483648;
	rows tid[] := '{}';
	taken tid[];
	levels jsonb := '{}';
	until timestamptz;
begin
	if t between (known ->> 'at')::timestamptz and (known ->> 'until')::timestamptz then
		used := known -> 'levels';
	end if;
	-- One priority after the other: a scan over all would wade through what is not due yet.
	while cardinality(rows) < places loop
		select max(l.key::integer) as priority, null::timestamptz as since into level from jsonb_each_text(used) as l where l.key::integer < below;
		level.since := used ->> level.priority::text;
		-- Is there one between that nobody knows of?
		select l.* into level from (
			(select r.priority, r.due_at as since from ready r where r.queue = queue_name and r.priority < below and r.priority > coalesce(level.priority, -2147483648) order by r.priority desc, r.due_at limit 1)
			union all select level.priority, level.since) as l where l.priority is not null order by l.priority desc limit 1;
		exit when not found;
		below := level.priority;
		taken := array(select r.ctid from ready r where r.queue = queue_name and r.priority = below and r.due_at >= level.since and r.due_at <= t
			order by r.due_at, r.operation_id limit places - cardinality(rows) for update skip locked);
		rows := rows || taken;
		if known is not null or dear_until(t, 'ready') is not null then
			levels := levels || jsonb_build_object(below, greatest(level.since, least(t,
				case when cardinality(rows) >= places then (select max(r.due_at) from ready r where r.ctid = any (taken)) end) - late));
		end if;
	end loop;

	until := dear_until(t, 'ready');
	if used <> '{}' then
		known := known || jsonb_build_object('levels', used || levels);
	elsif until is not null then
		known := jsonb_build_object('at', t, 'until', until, 'levels', coalesce(known -> 'levels', '{}') || levels);
	elsif known is null then
		return rows;
	else
		known := null;
	end if;
	perform set_config('kser.worked_off', jsonb_strip_nulls(memory || jsonb_build_object(queue_name, known))::text, false);
	return rows;
end
$$;
