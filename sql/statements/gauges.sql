-- For the keeper's metrics, a row for each queue. oldest_due is in milliseconds; the backlog as measure_backlog counted it last; claims and
-- dead letters (at most 10000) are of all queues. Due tasks are looked up by queue and priority, so that what waits is not read.
with recursive level (queue, priority) as (
	select q.name, (select max(r.priority) from kser.ready r where r.queue = q.name) from kser.queues q
	union all
	select l.queue, (select max(r.priority) from kser.ready r where r.queue = l.queue and r.priority < l.priority) from level l where l.priority is not null
), oldest as (
	select l.queue, min((select min(r.due_at) from kser.ready r where r.queue = l.queue and r.priority = l.priority)) as due_at
	from level l where l.priority is not null group by l.queue
)
select q.name as queue,
	coalesce(greatest(0, extract(epoch from clock_timestamp() - o.due_at) * 1000), 0)::bigint as oldest_due,
	q.backlog::bigint as backlog,
	(select count(*) from kser.operations r where r.window_queue = q.name and r.started_at is not null and r.finished_at is null and not r.held) as running,
	(select count(*) from kser.workers w where w.queue = q.name and w.left_at is null and w.seen_at > clock_timestamp() - interval '25 s') as workers,
	(select count(*) from kser.claims) as claims,
	(select count(*) from (select from kser.dead_letters limit 10000) as kept) as dead
from kser.queues q left join oldest o on o.queue = q.name
