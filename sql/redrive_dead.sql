-- Why a dead letter cannot be sent again as it came; null when it can.
create or replace function kser.redrive_problem(d kser.dead_letters) returns text language plpgsql stable as $$
begin
	if coalesce(d.size, octet_length(d.bytes)) > octet_length(d.bytes) then
		return format('only %s of its %s bytes were kept', octet_length(d.bytes), d.size);
	elsif d.size is null and octet_length(d.bytes) >= kser.bound('dead_letter_bytes') then
		return format('only its first %s bytes may have been kept', octet_length(d.bytes));
	end if;
	return null;
end
$$;

-- Asks for dead letters to be sent to their topics again; an orchestrator does, and deletes them. A row for each, by id; answer: asked, refused (it was
-- cut), missing.
--
--   letters  kser.dead_letters.id; null: all that can be sent and were not asked for
create or replace function kser.redrive_dead(letters bigint[], reason text default null) returns table (id bigint, answer text, detail text)
language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	perform from dead_letters d where letters is null and d.redrive_at is null or d.id = any (letters) order by d.id for update;
	letters := coalesce(letters, array(select d.id from dead_letters d where d.redrive_at is null and redrive_problem(d) is null));
	with asked as (
		update dead_letters d set redrive_at = t where d.id = any (letters) and d.redrive_at is null and redrive_problem(d) is null returning d.*
	)
	insert into history (kind, reason, detail)
	select 'redrive', left(redrive_dead.reason, 1000), json_build_object('dead_letter', a.id, 'topic', a.topic, 'partition', a.partition, 'offset', a.kafka_offset) from asked a;
	return query
	select w.id, case when d.id is null then 'missing' when d.redrive_at is null then 'refused' else 'asked' end,
		case when d.id is null then format('there is no dead letter %s', w.id) when d.redrive_at is null then redrive_problem(d) else 'it is sent to ' || d.topic || ' again' end
	from (select distinct id from unnest(letters) as id where id is not null) as w left join dead_letters d on d.id = w.id order by w.id;
end
$$;

-- Deletes dead letters for good. A row for each, by id; answer: dropped, missing.
create or replace function kser.drop_dead(letters bigint[], reason text default null) returns table (id bigint, answer text, detail text)
language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	dropped bigint[];
begin
	with gone as (
		delete from dead_letters d where d.id = any (letters) returning d.*
	), noted as (
		insert into history (kind, reason, detail)
		select 'drop', left(drop_dead.reason, 1000), json_build_object('dead_letter', g.id, 'topic', g.topic, 'partition', g.partition, 'offset', g.kafka_offset, 'why', g.reason) from gone g
	)
	select coalesce(array_agg(g.id), '{}') into dropped from gone g;
	return query
	select w.id, case when w.id = any (dropped) then 'dropped' else 'missing' end, case when not w.id = any (dropped) then format('there is no dead letter %s', w.id) end
	from (select distinct id from unnest(letters) as id where id is not null) as w order by w.id;
end
$$;
