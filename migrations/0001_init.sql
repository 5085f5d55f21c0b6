-- The tables. Users look at operations, tasks, workers, history and dead_letters with plain SQL;
-- the rest is the engine's. Functions stand in sql/ and are replaced as a whole at each migrate.

do $$
begin
	if current_setting('server_encoding') <> 'UTF8' then
		raise exception 'kser needs a database with encoding UTF8, this one has %', current_setting('server_encoding');
	elsif exists (select from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'kser' and r.rolname <> current_user) then
		raise exception 'the schema kser belongs to somebody else; functions that run with their owner''s rights must not stand in it';
	end if;
end
$$;
create schema if not exists kser;

create type kser.status as enum ('PENDING', 'RUNNING', 'SUCCESS', 'FAILED');

-- One row. generation: random, names this life of the database; every dispatch carries it and a reply of another one
-- changes nothing. epoch: raised by the keeper, replaces the clock in the proof of loss.
create table kser.meta (
	one boolean primary key default true check (one),
	generation bigint not null,
	epoch bigint not null default 1,
	schema_version integer not null,
	functions_hash text not null default '',
	system_identifier bigint not null,
	timeline integer not null
);

create table kser.operations (
	id uuid primary key,                    -- version 7: rises with time
	name text not null,
	status kser.status not null default 'PENDING',
	held boolean not null default false,    -- paused
	priority integer not null default 0,    -- higher first
	queue text not null default '',         -- default of its tasks; '' is the default queue
	window_queue text not null default '',  -- the queue of its current task, in whose admission window it counts
	key text,                               -- idempotency key
	params json not null default '{}',
	metadata json not null default '{}',
	policy json,                            -- default of its tasks
	created_at timestamptz not null,
	start_at timestamptz,                   -- not before
	deadline_at timestamptz,
	started_at timestamptz,
	finished_at timestamptz,
	retcode integer,                        -- the accumulated result, once finished
	error text,                             -- the error's name: Timeout, ValidationError …
	stdout text,
	stderr text,
	retval json
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000);

-- What runs now (status RUNNING): small whatever is waiting or finished. Not said by status, so that no plan made on an
-- empty table joins by a scan of this index what it can look up by id.
create index operations_running on kser.operations (window_queue, id) where started_at is not null and finished_at is null;

-- The current task, the lowest position not SUCCESS, is the operation's lock. No index on a column that changes and
-- free space in each page: the updates of a step stay in the page and touch no index.
create table kser.tasks (
	operation_id uuid not null,
	position integer not null,              -- orders, from 0; uuid is the identity
	attempt integer not null default 0,     -- only grows
	uuid uuid not null,
	status kser.status not null default 'PENDING',
	failures smallint not null default 0,   -- attempts that failed, against policy.max_attempts
	losses smallint not null default 0,     -- attempts that lost their worker or their message
	mark smallint not null default 0,       -- not 0: somebody steered it, only the careful function may touch it
	partition integer,                      -- of the last dispatch
	epoch bigint,                           -- of the last dispatch
	answer bigint,                          -- the reply record that ended it: partition << 48 | offset
	dispatched_at timestamptz,
	finished_at timestamptz,
	retcode integer,
	entrypoint text not null,
	queue text not null default '',
	worker text,                            -- the incarnation that ended it (kser.workers)
	error text,
	policy json,
	metadata json,
	params json not null default '{}',
	stdout text,                            -- the step's own output, not what it only carried on
	stderr text,
	retval json,
	primary key (operation_id, position)
) with (fillfactor = 35, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);

-- What may be dispatched now or later and is not yet. A hint: admit checks the task itself. Insert and delete only.
create table kser.ready (
	queue text not null,
	priority integer not null,
	due_at timestamptz not null,
	operation_id uuid not null,
	position integer not null,
	attempt integer not null,               -- the task's attempt when the row was made
	started boolean not null                -- the operation is RUNNING already: a retry, a successor in another queue
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index ready_order on kser.ready (queue, priority desc, due_at, operation_id);
create index ready_started on kser.ready (queue) where started;

-- Tasks that a worker holds for longer than about a second.
create table kser.claims (
	operation_id uuid not null,
	position integer not null,
	uuid uuid not null,
	attempt integer not null,
	worker text not null,
	claimed_at timestamptz not null,
	renewed_at timestamptz not null,
	deadline_at timestamptz,
	primary key (operation_id, position)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The orchestrators that may dispatch.
create table kser.instances (
	id uuid primary key,
	name text not null,                     -- host:pid
	version text not null,
	floor bigint not null,                  -- every dispatch of its own with a smaller epoch is acknowledged
	sleeping boolean not null default false, -- wants a NOTIFY when something becomes due
	started_at timestamptz not null,
	beat_at timestamptz not null,
	keeper_until timestamptz                -- the keeper's lease
) with (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- End offsets of the task topics by epoch, for the proof of loss.
create table kser.samples (
	topic text not null,
	epoch bigint not null,
	valid bigint not null,                  -- dispatches of a smaller epoch are below these ends or never will be
	ends bigint[] not null,                 -- by partition; null: not known
	taken_at timestamptz not null,
	primary key (topic, epoch)
);

-- Idempotency keys of submits.
create table kser.keys (
	key text primary key,
	operation_id uuid not null,
	body_hash bytea not null,
	until timestamptz                       -- null: while the operation is active
);
create index keys_until on kser.keys (until) where until is not null;

create table kser.queues (
	name text primary key check (name ~ '^[A-Za-z0-9._-]{0,100}$'),
	window_size integer not null default 2000 check (window_size between 1 and 1000000) -- RUNNING tasks without a claim
);
insert into kser.queues (name) values ('');

create table kser.workers (
	incarnation text primary key,           -- one life of one worker process
	host text,
	pid integer,
	queue text not null default '',
	version text,
	slots integer,
	free integer,
	entrypoints text[] not null default '{}',
	started_at timestamptz not null,
	seen_at timestamptz not null,
	left_at timestamptz                     -- it said good-bye
) with (fillfactor = 50);

create table kser.entrypoints (
	queue text not null,
	name text not null,
	required text[] not null default '{}',
	seen_at timestamptz not null,
	primary key (queue, name)
);

-- Append-only: failed and superseded attempts, operator actions, rescues. The plain success writes nothing here.
create table kser.history (
	id bigint generated always as identity primary key,
	at timestamptz not null default clock_timestamp(),
	operation_id uuid,
	position integer,
	uuid uuid,
	attempt integer,
	kind text not null,                     -- failed, retry, late, lost, cancel, pause …
	actor text not null default session_user,
	reason text,
	worker text,
	retcode integer,
	error text,
	detail json
);
create index history_operation on kser.history (operation_id, id);
create unique index history_late on kser.history (uuid, attempt) where kind = 'late';

create table kser.dead_letters (
	id bigint generated always as identity primary key,
	at timestamptz not null default clock_timestamp(),
	topic text not null,
	partition integer not null,
	kafka_offset bigint not null,
	reason text not null,
	bytes bytea not null,                   -- as they came, cut at 64 KiB
	worker text,                            -- who found it, when it was not an orchestrator
	unique (topic, partition, kafka_offset)
);

-- What is only counted: replies that changed nothing, by verdict.
create table kser.counters (
	name text primary key,
	value bigint not null default 0
) with (fillfactor = 30);

-- Roles, where this role may create them; `kser db migrate` prints the statements otherwise.
do $$
declare
	role text;
begin
	foreach role in array array['kser_read', 'kser_submit', 'kser_operate', 'kser_engine'] loop
		if not exists (select from pg_roles where rolname = role) then
			begin
				execute format('create role %I nologin', role);
			exception
				when insufficient_privilege then
					raise warning 'role % is missing and this user may not create it: ask an administrator for: create role % nologin', role, role;
				when duplicate_object or unique_violation then
					null; -- made at the same moment for another database of this server
			end;
		end if;
	end loop;
end
$$;
