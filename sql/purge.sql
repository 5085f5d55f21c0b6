-- Deletes what ended long ago. Operations are found by their ids, which rise with time: a scan of the primary key from its left edge, in steps, needs no
-- index on a column that changes. Nobody is waited for: what somebody has locked is left for another pass.

-- The lowest id that an operation submitted at `t` can have.
create or replace function kser.first_id(t timestamptz) returns uuid language sql stable parallel safe
return (encode(substring(int8send(greatest(extract(epoch from t) * 1000, 0)::bigint) from 3), 'hex') || repeat('0', 20))::uuid;

-- What is wrong with the parameters of a purge raises 22023.
create or replace function kser.check_purge(older_than interval, most integer) returns void language plpgsql immutable as $$
begin
	if older_than is null or older_than < '0' then
		raise exception using errcode = '22023', message = format('older_than: must be an interval of 0 or more, not %s', coalesce(older_than::text, 'null'));
	elsif most is null or most not between 1 and 10000 then
		raise exception using errcode = '22023', message = format('most: must be between 1 and 10000, not %s', coalesce(most::text, 'null'));
	end if;
end
$$;

-- Looks at the next operations, at most so many, without locking any: those that ended before `horizon` and that nothing needs any more, and
-- how many tasks each has. next: the last one looked at; null: all that were submitted before the horizon were.
-- A look ends early where the operations found have 10,000 tasks together.
create or replace function kser.purgeable(horizon timestamptz, after uuid, most integer, out ids uuid[], out sizes bigint[], out next uuid) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
declare
	tasks_max constant integer := 10000;
	looked bigint;
	used bigint;
begin
	with found as materialized (
		select o.id, o.status, o.finished_at from operations o
		where o.id > coalesce(after, '00000000-0000-0000-0000-000000000000') and o.id < first_id(horizon) order by o.id limit most
	), sized as (
		select f.id, case when f.status in ('SUCCESS', 'FAILED') and f.finished_at < horizon
			and not exists (select from claims c where c.operation_id = f.id) and not exists (select from stops s where s.operation_id = f.id)
			then (select count(*) from tasks k where k.operation_id = f.id) end as size
		from found f
	), summed as (
		select s.*, coalesce(sum(s.size) over (order by s.id rows between unbounded preceding and 1 preceding), 0) < tasks_max as fits from sized s
	)
	select coalesce(array_agg(s.id order by s.id) filter (where s.fits and s.size is not null), '{}'), coalesce(array_agg(s.size order by s.id) filter (where s.fits and s.size is not null), '{}'),
		(array_agg(s.id order by s.id desc) filter (where s.fits))[1], count(*), count(*) filter (where s.fits)
	into ids, sizes, next, looked, used from summed s;
	if looked < most and used = looked then
		next := null;
	end if;
end
$$;

-- Deletes operations that ended, SUCCESS or FAILED, longer ago than `older_than`, with their tasks, their history and a key that holds while they are
-- active, should there be one. A key for a period stays until that is over: a submit with it is answered with the id of the operation that was deleted.
--
--   older_than  counted from the operation's end; '0': all that have ended
--   after       looks only at operations with a higher id; null: from the oldest on
--   most        looks at so many operations, 1 to 10000
--
-- One short transaction, which waits for nobody. Left alone is what has not ended, has a claim or a stop, runs a task (by hand only does an ended one),
-- or is locked by somebody: a retry that comes first goes on, one that comes later finds no operation.
-- deleted: operations, tasks: theirs; next: where to go on, null when all that are old enough were looked at. What lives long at the left edge is
-- not looked at again by who goes on there.
create or replace function kser.purge(older_than interval, after uuid default null, most integer default 1000, out deleted integer, out tasks integer, out next uuid)
language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
declare
	horizon constant timestamptz := clock_timestamp() - older_than;
	found record;
	got uuid[];
begin
	perform check_purge(older_than, most);
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception using errcode = '25001', message = 'purge needs READ COMMITTED';
	end if;
	select * into found from purgeable(horizon, after, most);
	next := found.next;
	-- All rows of its tasks, then its own, as everybody locks them.
	got := array(
		select f.id from unnest(found.ids, found.sizes) as f (id, size),
			lateral (select count(*) as size, bool_or(l.status = 'RUNNING') as runs
				from (select k.status from tasks k where k.operation_id = f.id order by k.position for update skip locked) as l) as l
		where l.size = f.size and l.runs is not true);
	-- Fresh statements: what was committed before the tasks were ours, is seen.
	got := array(
		select o.id from operations o where o.id = any (got) and o.status in ('SUCCESS', 'FAILED') and o.finished_at < horizon
			and not exists (select from claims c where c.operation_id = o.id) and not exists (select from stops s where s.operation_id = o.id)
		order by o.id for update of o skip locked);

	delete from kser.tasks k where k.operation_id = any (got);
	get diagnostics tasks = row_count;
	delete from history h where h.ctid = any (array(select e.ctid from history e where e.operation_id = any (got) for update skip locked));
	delete from keys k where k.ctid = any (array(
		select e.ctid from operations o join keys e on e.key = o.key
		where o.id = any (got) and o.key is not null and e.operation_id = o.id and e.until is null for update of e skip locked));
	delete from operations o where o.id = any (got);
	get diagnostics deleted = row_count;
end
$$;

-- Deletes rows of the history that are older than that and have no operation (any more): acts on dead letters, policies and generations, and what
-- came late for an operation while it was being deleted.
--
--   after, most, next   as above, by the history's own ids
create or replace function kser.purge_history(older_than interval, after bigint default null, most integer default 1000, out deleted integer, out next bigint)
language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
declare
	horizon constant timestamptz := clock_timestamp() - older_than;
	last bigint;
begin
	perform check_purge(older_than, most);
	select max(h.id), case when count(*) = most and bool_and(h.at < horizon) then max(h.id) end into last, next
	from (select e.id, e.at from history e where e.id > coalesce(after, 0) order by e.id limit most) as h;
	delete from history h where h.ctid = any (array(
		select e.ctid from history e
		where e.id > coalesce(after, 0) and e.id <= last and e.at < horizon and not exists (select from operations o where o.id = e.operation_id) for update of e skip locked));
	get diagnostics deleted = row_count;
end
$$;

-- Forgets workers, and entrypoints that none of the remaining ones serves, that nobody has heard of for so long, or for a day where that is more.
create or replace function kser.purge_workers(older_than interval, out workers integer, out entrypoints integer) language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
declare
	horizon constant timestamptz := clock_timestamp() - greatest(older_than, '1 day');
begin
	perform check_purge(older_than, 1);
	delete from kser.workers w where w.ctid = any (array(select e.ctid from kser.workers e where e.seen_at < horizon for update skip locked));
	get diagnostics workers = row_count;
	delete from kser.entrypoints p where p.ctid = any (array(
		select e.ctid from kser.entrypoints e
		where e.seen_at < horizon and not exists (select from kser.workers w where w.queue = e.queue and e.name = any (w.entrypoints)) for update of e skip locked));
	get diagnostics entrypoints = row_count;
end
$$;
