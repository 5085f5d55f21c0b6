-- Notes that an operation has ended at `t`, if it has and somebody exports traces (take_ended).
create or replace function kser.note_ended(t timestamptz, operation uuid) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
begin
	insert into ended_operations (operation_id)
	select o.id from operations o, meta m where m.traced_until > t and o.id = operation and o.finished_at = t;
end
$$;
