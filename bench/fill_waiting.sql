-- Operations that wait, with ids from long ago: %(first)s to %(last)s, %(steps)s tasks each, due at %(due_at)s.
with made as (
	insert into kser.operations (id, name, created_at, start_at)
	select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 2592000000 + n), 12, '0') || '70008000000000000000')::uuid, 'waits', now(), %(due_at)s::timestamptz
	from generate_series(%(first)s, %(last)s) as n
	returning id
), tasks as (
	insert into kser.tasks (operation_id, position, uuid, entrypoint)
	select id, p, gen_random_uuid(), 'noop' from made, generate_series(0, %(steps)s - 1) as p
)
insert into kser.ready (queue, priority, due_at, operation_id, position, attempt, started)
select '', 0, %(due_at)s::timestamptz, id, 0, 0, false from made
