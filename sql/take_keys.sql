-- Without the members that are null or say what holds without them. Not within a policy: null there undoes what a more general policy says.
create or replace function kser.without_defaults(given jsonb, in_default_queue boolean) returns jsonb language sql immutable parallel safe
return given - array[
	case when given -> 'params' in ('null', '{}') then 'params' end,
	case when given -> 'metadata' in ('null', '{}') then 'metadata' end,
	case when given -> 'policy' in ('null', '{}') then 'policy' end,
	case when given -> 'priority' in ('null', '0') then 'priority' end,
	case when given -> 'queue' = 'null' or in_default_queue and given -> 'queue' = '""' then 'queue' end,
	case when given -> 'tasks' = 'null' then 'tasks' end,
	case when given -> 'start_at' = 'null' then 'start_at' end,
	case when given -> 'deadline' = 'null' then 'deadline' end,
	case when given -> 'uuid' = 'null' then 'uuid' end];

-- What tells two submissions with one key apart: all of it but the key and what says the default. A time or a duration is what was
-- written: '60s' and '1m' are two bodies.
create or replace function kser.body_hash(submission jsonb) returns bytea language plpgsql immutable parallel safe as $$
declare
	body jsonb := submission - array['key', 'key_for'];
	body_text text;
begin
	body := kser.without_defaults(body, true); -- of a variable: what stands in the place of the parameter is computed at each use
	body_text := body::text;
	-- Tasks are put together anew only where one may say a default; what only looks like it, within params, costs time and no more.
	if body ? 'tasks' and body_text like any (array['%"tasks": [%": null%', '%"tasks": [%": ""%', '%"tasks": [%": {}%']) then
		body := jsonb_set(body, '{tasks}', (select jsonb_agg(kser.without_defaults(task, not body ? 'queue')) from jsonb_array_elements(body -> 'tasks') as list (task)));
		body_text := body::text;
	end if;
	return sha256(convert_to(body_text, 'UTF8'));
end
$$;

-- Takes the idempotency keys of a list of submissions, in sorted order. For each: the id that its key stands for, which is
-- the new id given in `ids` or that of the operation which has the key already. Raises 23505 for another body.
-- A key holds while its operation is active, or until `key_for` has passed since the submit.
create or replace function kser.take_keys(submissions jsonb, ids uuid[]) returns uuid[] language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	wanted record;
	present record;
begin
	for wanted in
		select o ->> 'key' as key, body_hash(o) as body_hash,
			clock_timestamp() + kser.duration(nullif(o -> 'key_for', 'null')) as until, ordinality
		from jsonb_array_elements(submissions) with ordinality as list (o)
		where o ->> 'key' is not null order by o ->> 'key', ordinality
	loop
		loop
			insert into keys (key, operation_id, body_hash, until) values (wanted.key, ids[wanted.ordinality], wanted.body_hash, wanted.until)
			on conflict (key) do nothing;
			exit when found;
			-- A fresh statement: sees who was first.
			select k.operation_id, k.body_hash, k.until into present from keys k where k.key = wanted.key;
			continue when not found;
			if (case when present.until is null
				then exists (select from operations o where o.id = present.operation_id and o.status in ('PENDING', 'RUNNING')) or present.operation_id = any (ids)
				else present.until > clock_timestamp() end)
			then
				if present.body_hash <> wanted.body_hash then
					raise exception using errcode = '23505', message = format('key %s: stands for operation %s, which was submitted with another body', to_json(left(wanted.key, 100)), present.operation_id);
				end if;
				ids[wanted.ordinality] := present.operation_id;
				exit;
			end if;
			-- Only one of many takes a key over that has expired.
			update keys k set operation_id = ids[wanted.ordinality], body_hash = wanted.body_hash, until = wanted.until
			where k.key = wanted.key and k.operation_id = present.operation_id;
			exit when found;
		end loop;
	end loop;
	return ids;
end
$$;
