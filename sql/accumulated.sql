-- The Result that the steps of an operation before `position` have accumulated, by kser's rules: a later non-empty stdout or
-- stderr replaces, keys of a later retval win. What the next task's message carries; null before the first.
create or replace function kser.accumulated(operation uuid, before integer) returns json language sql stable
set search_path = pg_catalog, kser, pg_temp as $$
	select json_build_object(
		'uuid', (select t.uuid from tasks t where t.operation_id = operation and t.position = 0),
		'retcode', 0,
		'stdout', coalesce((select t.stdout from tasks t where t.operation_id = operation and t.position < before and t.stdout <> '' order by t.position desc limit 1), ''),
		'stderr', coalesce((select t.stderr from tasks t where t.operation_id = operation and t.position < before and t.stderr <> '' order by t.position desc limit 1), ''),
		'retval', coalesce((select json_object_agg(key, value) from (
			select distinct on (m.key) m.key, m.value from tasks t, json_each(t.retval) as m
			where t.operation_id = operation and t.position < before order by m.key, t.position desc) as last), '{}'))
	where before > 0
$$;
