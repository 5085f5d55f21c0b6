-- Submits one operation in the caller's transaction; returns its id. It runs once that transaction has committed.
--
--   name      1 to 255 bytes; without tasks it is the entrypoint of the only task
--   tasks     array of 1 to 10,000 objects {entrypoint, params?, queue?, policy?, uuid?, metadata?}, run one after the other
--   params    object; the operation's own, not merged into its tasks'
--   key       idempotency key, 1 to 255 bytes: same key and same body give the same id, another body is refused (23505);
--             to leave a default out or to say it is the same body, a time or duration written in another way is not
--   priority  -1,000,000 to 1,000,000, higher first
--   queue     default queue of the tasks
--   start_at  not before
--   deadline  so long after its start_at or now the operation is to have ended: else it is FAILED with Timeout, and what runs of it is stopped
--   policy    default policy of the tasks (kser.policy_problem lists its keys)
--   metadata  object, sent along with each task
--   key_for   how long the key holds; null: while the operation is active
--
-- Raises 22023 with the place and the limit for what is wrong, 53400 when the backlog of the first task's queue is full.
create or replace function kser.submit(name text, tasks jsonb default null, params jsonb default '{}', key text default null, priority integer default 0,
	queue text default null, start_at timestamptz default null, deadline interval default null, policy jsonb default null, metadata jsonb default null,
	key_for interval default null)
returns uuid language plpgsql volatile security definer set search_path = pg_catalog, kser, pg_temp as $$
declare
	id uuid;
begin
	select s.id into id from submit_many(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('name', name, 'key', key, 'priority', priority, 'queue', queue,
		'start_at', coalesce(to_char(start_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ'), start_at::text), -- infinity, for one, is refused by name
		'deadline', trim_scale(extract(epoch from deadline)), 'key_for', extract(epoch from key_for)))
		|| case when tasks is null then '{}' else jsonb_build_object('tasks', tasks) end
		|| case when params is null then '{}' else jsonb_build_object('params', params) end
		|| case when policy is null then '{}' else jsonb_build_object('policy', policy) end
		|| case when metadata is null then '{}' else jsonb_build_object('metadata', metadata) end)) as s (id);
	return id;
end
$$;
