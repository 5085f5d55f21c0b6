-- Operations of ten steps that ended long ago, as kser leaves them: %(first)s to %(last)s.
with made as (
	insert into kser.operations (id, name, status, created_at, started_at, finished_at, retcode, retval)
	select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 2592000000 + n), 12, '0') || '70008000000000000000')::uuid, 'ended', 'SUCCESS', now(), now(), now(), 0, '{}'
	from generate_series(%(first)s, %(last)s) as n
	returning id
)
insert into kser.tasks (operation_id, position, attempt, uuid, status, partition, epoch, answer, dispatched_at, finished_at, retcode, entrypoint, worker)
select id, p, 1, gen_random_uuid(), 'SUCCESS', 3, 1, 1, now(), now(), 0, 'noop', '00000000-0000-7000-8000-000000000000' from made, generate_series(0, 9) as p
