-- What recovery and steering need. Columns are nullable at the end of their tables: they cost nothing where they are not used.

alter table kser.meta add halted text;                  -- why nothing is dispatched (the database was set back); null: it is
alter table kser.meta add synchronous_failover boolean not null default false; -- declared: a standby that takes over has all commits

alter table kser.tasks add crashes smallint;            -- attempts whose worker died; null: none
-- tasks.answer also says whether the last attempt may still run: null when it ended without a word of its worker, -1 when it was handed back.
alter table kser.tasks add tries_since timestamptz;     -- dispatch of the first attempt that did not succeed: policy.budget counts from it

-- Unfinished operations with a deadline.
create index operations_deadline on kser.operations (deadline_at) where deadline_at is not null and finished_at is null;

alter table kser.queues add backlog_max integer default 1000000 check (backlog_max between 1 and 1000000000); -- waiting tasks beyond which submits are refused; null: no limit
alter table kser.queues add backlog integer not null default 0;       -- as counted last, at most backlog_max + 1
alter table kser.queues add is_full boolean not null default false;   -- backlog > backlog_max at the last count

alter table kser.workers add waiting integer;           -- tasks that it has fetched and not started
alter table kser.workers add claims integer;            -- tasks that it holds under a claim
alter table kser.workers add partitions integer[];      -- of its queue's task topic, assigned to it

alter table kser.dead_letters add size bigint;          -- bytes as they came; more than kept: it cannot be redriven
alter table kser.dead_letters add redrive_at timestamptz; -- asked for: it is sent to its topic again and deleted

-- Running attempts that somebody wants ended: told to the workers every second until a release, a result or five seconds end them.
create table kser.stops (
	operation_id uuid not null,
	position integer not null,
	uuid uuid not null,
	attempt integer not null,
	queue text not null,
	asked_at timestamptz not null,
	error text not null,                    -- what the task's error will be: Cancelled, Timeout
	retcode integer not null,
	reason text,
	primary key (operation_id, position)
);

-- What the proof of loss found lost in its last round; lost for good when the next round says so too.
create table kser.suspects (
	operation_id uuid not null,
	position integer not null,
	attempt integer not null,
	queue text not null,
	since timestamptz not null,
	primary key (operation_id, position)
);

-- What the last look at a queue's task topic told, by partition.
create table kser.proofs (
	queue text primary key,
	epoch bigint not null,                  -- of the round
	looked_at timestamptz not null,
	committed bigint[] not null,            -- the worker group's offset; null: none
	ends bigint[] not null,
	passed bigint[] not null,               -- dispatches of a smaller epoch were answered; null: no proof
	problems text[] not null,               -- why there is none, or what is odd about it; null: all is well
	since timestamptz[] not null            -- since when the partition is in this state (problem or none)
) with (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Default policies by entrypoint; an operation's and a task's own keys win. Copied into tasks at submit.
create table kser.policies (
	entrypoint text primary key,
	policy json not null,
	set_at timestamptz not null default clock_timestamp(),
	actor text not null default session_user
);

alter table kser.operations add body_hash bytea;          -- of its submission, where its key holds while it is active: retry takes the key again

-- Paused operations are not looked at where the running ones are: they may be many.
drop index kser.operations_running;
create index operations_running on kser.operations (window_queue, id) where started_at is not null and finished_at is null and not held;

create index dead_letters_redrive on kser.dead_letters (id) where redrive_at is not null;

-- Functions whose rows or parameters are other ones now.
drop function if exists kser.admit(text, integer[]);
drop function if exists kser.apply_results(uuid[], uuid[], integer[], integer[], bigint[], bigint[], bigint[], integer[], text[], text[], text[], json[], json[], jsonb[],
	boolean[], text[], integer[], integer[], boolean);
drop function if exists kser.lost_results(kser.meta, integer[], integer[], uuid[], uuid[], integer[], integer[], bigint[], bigint[], bigint[], integer[], text[], text[], json[]);
drop function if exists kser.finish_steps(timestamptz, integer[], uuid[], integer[], kser.status[], text[], integer[], json[], boolean[]);
drop function if exists kser.beat(uuid, text, text, bigint, boolean, boolean, interval, interval);
drop function if exists kser.window_free();
drop function if exists kser.retry_delay(json, integer, boolean);
