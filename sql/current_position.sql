-- The position of an operation's current task, the lowest that is not SUCCESS; null: there is none.
-- All before it are SUCCESS and none after it is: of a long operation not every row is read.
create or replace function kser.current_position(operation uuid) returns integer language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
declare
	first_look constant integer := 32;
	low integer;   -- SUCCESS up to here
	high integer;  -- not SUCCESS, or past the end
	middle integer;
	past_end integer;
begin
	select k.position into middle from tasks k
	where k.operation_id = operation and k.position between 0 and first_look - 1 and k.status <> 'SUCCESS' order by k.position limit 1;
	if found then
		return middle;
	end if;
	select k.position + 1 into past_end from tasks k where k.operation_id = operation order by k.position desc limit 1;
	if past_end is null or past_end <= first_look then
		return null;
	end if;
	low := first_look - 1;
	high := past_end;
	while high - low > 1 loop
		middle := low + (high - low) / 2;
		if exists (select from tasks k where k.operation_id = operation and k.position = middle and k.status = 'SUCCESS') then
			low := middle;
		else
			high := middle;
		end if;
	end loop;
	return nullif(high, past_end);
end
$$;
