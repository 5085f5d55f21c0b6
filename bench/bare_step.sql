-- The bare minimum of a step, without any of kser's promises: finish task i, start task i + 1, finish the operation.
-- $1 operations, $2 positions.
with done as (
	update bare.tasks t set status = 2, finished_at = now(), retcode = 0
	from unnest($1, $2) as r (operation_id, position)
	where t.operation_id = r.operation_id and t.position = r.position and t.status = 1
	returning t.operation_id, t.position
), next as (
	update bare.tasks t set status = 1, attempt = t.attempt + 1, dispatched_at = now()
	from done d
	where t.operation_id = d.operation_id and t.position = d.position + 1 and t.status = 0
	returning t.operation_id
), ended as (
	update bare.operations o set status = 2, finished_at = now()
	from done d
	where o.id = d.operation_id and not exists (select from bare.tasks n where n.operation_id = d.operation_id and n.position = d.position + 1)
)
select count(*) from next
