-- How deep a jsonb value is nested: 0 for a scalar.
create or replace function kser.json_depth(value jsonb) returns integer language plpgsql immutable as $$
begin
	return case jsonb_typeof(value)
		when 'array' then 1 + coalesce((select max(kser.json_depth(e)) from jsonb_array_elements(value) as e), 0)
		when 'object' then 1 + coalesce((select max(kser.json_depth(m.value)) from jsonb_each(value) as m), 0)
		else 0
	end;
end
$$;

-- What the wire cannot carry of a value that jsonb can; null when there is nothing. Looks closely only where a cheap
-- look finds a reason: a long run of digits, many brackets.
create or replace function kser.json_problem(value jsonb, place text) returns text language plpgsql immutable as $$
declare
	as_text constant text := value::text;
	depth_max constant integer := 62; -- of 64: the message and its field are two
	number numeric;
begin
	if as_text ~ '[0-9]{19}' then
		select n #>> '{}' into number from jsonb_path_query(value, 'strict $.** ? (@.type() == "number")') as n
		where (n #>> '{}')::numeric not between -9223372036854775808 and 9223372036854775807 or (n #>> '{}')::numeric <> 0 and abs((n #>> '{}')::numeric) < 1e-300 limit 1;
		if found and abs(number) < 1 then
			return format('%s: a number is closer to 0 than a double can be', place);
		elsif found then
			return format('%s: the number %s%s is outside of -9223372036854775808 to 9223372036854775807', place, left(number::text, 30),
				case when length(number::text) > 30 then format('... (%s characters)', length(number::text)) end);
		end if;
	end if;
	if length(as_text) - length(translate(as_text, '[{', '')) > depth_max and kser.json_depth(value) > depth_max then
		return format('%s: is nested deeper than %s levels', place, depth_max);
	end if;
	if octet_length(as_text) > kser.bound('message_bytes') - kser.bound('stamp_bytes') then
		return format('%s: has %s bytes, the limit is %s', place, octet_length(as_text), kser.bound('message_bytes') - kser.bound('stamp_bytes'));
	end if;
	return null;
end
$$;
