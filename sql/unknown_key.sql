-- Names the first key of an object that is not among the known ones.
create or replace function kser.unknown_key(value jsonb, place text, known text[]) returns text language sql immutable parallel safe
return format('%s unknown key %s; known are %s', place, left((select to_json(k)::text from jsonb_object_keys(value - known) as k limit 1), 100), array_to_string(known, ', '));
