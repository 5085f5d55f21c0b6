-- Raises 40001: a row that the caller had read was changed before it could write it. What the caller did is undone; it tries another way.
create or replace function kser.changed_meanwhile() returns integer language plpgsql volatile as $$
begin
	raise exception using errcode = '40001', message = 'a row was changed meanwhile by somebody who did not mark its task';
end
$$;
