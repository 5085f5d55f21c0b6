-- Attempts as workers name them, [{uuid, op, pos, attempt, gen, reason?}], sorted by (operation, position) and each once.
-- What is no name is left out: the list comes from outside.
create or replace function kser.names(list jsonb) returns table (operation_id uuid, "position" integer, uuid uuid, attempt integer, generation bigint, reason text)
language sql immutable as $$
	select distinct on (n.op, n.pos, n.uuid, n.attempt) n.op, n.pos, n.uuid, n.attempt, n.gen, n.reason from (
		select (e ->> 'op')::uuid as op, (e ->> 'pos')::integer as pos, (e ->> 'uuid')::uuid as uuid, (e ->> 'attempt')::integer as attempt, (e ->> 'gen')::bigint as gen, e ->> 'reason' as reason
		from jsonb_array_elements(case when jsonb_typeof(list) = 'array' then list else '[]' end) as e
		where case when jsonb_typeof(e) = 'object' and e ->> 'op' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' and e ->> 'uuid' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
				and e ->> 'pos' ~ '^[0-9]{1,9}$' and e ->> 'attempt' ~ '^[0-9]{1,9}$' and e ->> 'gen' ~ '^-?[0-9]{1,19}$'
			then (e ->> 'gen')::numeric between -9223372036854775808 and 9223372036854775807 end
	) as n order by n.op, n.pos, n.uuid, n.attempt
$$;

-- Counts what is only counted.
create or replace function kser.count_up(counter text, by bigint) returns void language plpgsql volatile as $$
begin
	if by > 0 then
		insert into kser.counters as c (name, value) values (counter, by) on conflict (name) do update set value = c.value + by;
	end if;
end
$$;
