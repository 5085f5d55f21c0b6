-- Dead letters that somebody wants sent again, as they came; those of which not all bytes were kept are left out. The caller
-- sends them to their topics and calls redriven() for what the broker has acknowledged.
create or replace function kser.take_redrive(at_most integer) returns table (id bigint, topic text, bytes bytea) language sql volatile
set search_path = pg_catalog, kser, pg_temp as $$
	select d.id, d.topic, d.bytes from dead_letters d
	where d.redrive_at is not null and (d.size is null or d.size = octet_length(d.bytes)) order by d.id limit at_most
$$;

-- Dead letters that were sent again are dead no more. How many.
create or replace function kser.redriven(ids bigint[]) returns integer language plpgsql volatile set search_path = pg_catalog, kser, pg_temp as $$
declare
	deleted integer;
begin
	delete from dead_letters d where d.id = any (ids) and d.redrive_at is not null;
	get diagnostics deleted = row_count;
	return deleted;
end
$$;
