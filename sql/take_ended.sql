-- Operations that have ended and were not taken yet, for the export of their root spans: at most so many, each is given once.
-- Called again and again by whoever exports: operations that end are noted only while somebody has called within a minute.
--
-- One row for each: when it was submitted, started (null: it never was) and ended, in microseconds since 1970, and its outcome.
create or replace function kser.take_ended(at_most integer) returns table (operation_id uuid, name text, queue text, metadata json, created_us bigint, started_us bigint,
	finished_us bigint, status text, retcode integer, error text, reason text)
language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	update meta m set traced_until = t + '1 min' where coalesce(m.traced_until, '-infinity') < t + '30 s';
	return query
	with taken as (
		delete from ended_operations e where e.ctid = any (array(select r.ctid from ended_operations r limit at_most for update skip locked)) returning e.operation_id
	)
	select o.id, o.name, o.queue, o.metadata, unix_us(o.created_at), unix_us(o.started_at), unix_us(o.finished_at), o.status::text, o.retcode, o.error, left(o.stderr, 500)
	from taken e join operations o on o.id = e.operation_id
	where o.finished_at is not null;
end
$$;
