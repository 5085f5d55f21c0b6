-- What one partition's offsets tell, for look(). Arrays of one queue's last look come in as `before`, null at the first.
--   problem  why there is no proof, or what is odd about it; null: all is well
--   reach    the offset below which all was answered
--   since    since when it is so
create or replace function kser.look_at(p integer, t timestamptz, before kser.proofs, committed bigint, marked boolean, log_start bigint, log_end bigint)
returns table (problem text, reach bigint, since timestamptz) language plpgsql immutable as $$
#variable_conflict use_column
declare
	patience constant interval := '60 s';
	went_back constant text := 'the end of the log went back, the topic may have been made anew';
	beyond constant text := 'the committed offset is beyond the end of the log';
	below constant text := 'the committed offset is below the start of the log';
	strange constant text := 'the committed offset is not of a kser worker';
	was constant text := before.problems[p];
	was_since constant timestamptz := before.since[p];
	found_problem text;
	found_reach bigint := committed;
begin
	if log_start is null or log_end is null then
		found_problem := 'the ends of the log are not known';
	elsif log_end < before.ends[p] then
		return query select went_back, null::bigint, t;
		return;
	elsif committed > log_end then
		return query select beyond, null::bigint, t;
		return;
	elsif committed is not null and marked is not true then
		return query select strange, null::bigint, t;
		return;
	-- A worker's own commit may pass what a stranger has committed and not done yet.
	elsif was in (went_back, beyond, strange) and t - was_since < patience then
		return query select was, null::bigint, was_since;
		return;
	elsif committed is null and log_start = log_end then
		found_reach := log_end;
	elsif committed is null then
		found_problem := 'no worker has committed an offset yet';
	elsif committed < log_start then
		if was = below and t - was_since >= patience then
			return query select was, log_start, was_since; -- told, and yet a proof: what was below the start is gone
			return;
		end if;
		found_problem := below;
	end if;
	return query select found_problem, case when found_problem is null then found_reach end,
		case when found_problem is not distinct from was and was_since is not null then was_since else t end;
end
$$;

-- Looks at a queue's task partitions: which dispatches were answered, by the samples. Keeps in `proofs`, for each partition, the
-- epoch below which all were, or why that cannot be told. lose() acts on it once the replies up to ends noted after this are applied.
--
--   epoch      of the round
--   committed  offsets of the queue's worker group; marked: whether their commits carry the workers' mark
--   starts, ends  of the logs. All by partition, from 0; null: not known, or none
create or replace function kser.look(queue text, epoch bigint, committed bigint[], marked boolean[], starts bigint[], ends bigint[]) returns void language plpgsql volatile
set search_path = pg_catalog, kser, pg_temp as $$
declare
	t constant timestamptz := clock_timestamp();
	before proofs;
	made record;
begin
	select * into before from proofs p where p.queue = look.queue;
	-- A partition that was there stays in the arrays: what is lost with it is to be seen.
	select array_agg(look.committed[p] order by p) as committed, array_agg(coalesce(look.ends[p], before.ends[p]) order by p) as ends, array_agg(l.problem order by p) as problems,
		array_agg((select max(s.valid) from samples s where s.topic = look.queue and s.ends[p] <= l.reach) order by p) as passed, array_agg(l.since order by p) as since
	into made
	from generate_series(1, greatest(cardinality(look.ends), cardinality(look.committed), cardinality(before.ends))) as p,
		lateral look_at(p, t, before, look.committed[p], look.marked[p], look.starts[p], look.ends[p]) as l;
	insert into proofs (queue, epoch, looked_at, committed, ends, passed, problems, since)
	values (look.queue, look.epoch, t, coalesce(made.committed, '{}'), coalesce(made.ends, '{}'), coalesce(made.passed, '{}'), coalesce(made.problems, '{}'), coalesce(made.since, '{}'))
	on conflict on constraint proofs_pkey do update set epoch = excluded.epoch, looked_at = excluded.looked_at, committed = excluded.committed, ends = excluded.ends, passed = excluded.passed,
		problems = excluded.problems, since = excluded.since
	where proofs.epoch <= excluded.epoch;
end
$$;
