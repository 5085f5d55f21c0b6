"""The real functions on a real PostgreSQL whose clock and dice belong to the simulator.

The functions are installed from their source files; three words are replaced on the way: `clock_timestamp()` by a clock
that stands still unless the simulator moves it (and goes on by a microsecond at each look, so that no two moments are
equal), `gen_random_uuid()` and `random()` by dice that are set by the seed. Two triggers write down every change of a
status, with the number of the call that made it.
"""

import contextlib
import re
from pathlib import Path

import psycopg2
import psycopg2.extensions

from support.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]

# As the engine's own connections are (sql/connection.c); plans are made once and kept.
ENGINE = ("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_memoize=off"
          " -c jit=off -c lock_timeout=100ms -c client_min_messages=error")

# Commits survive a crash of the programs, not of the machine: nothing here crashes the server. The simulator vacuums between
# schedules; a worker of the server's own would hold locks for which it must not wait.
FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off"}

WORLD = """
create schema sim;
create sequence sim.looks;
create function sim.clock_timestamp() returns timestamptz language sql volatile as $$
	select to_timestamp(current_setting('sim.seconds')::float8) + nextval('sim.looks') * interval '1 microsecond'
$$;
create function sim.random_uuid() returns uuid language sql volatile as $$
	select md5(current_setting('sim.seed') || ':' || nextval('sim.looks'))::uuid
$$;
create function sim.random() returns float8 language sql volatile as $$
	select ('x' || left(md5(current_setting('sim.seed') || ':' || nextval('sim.looks')), 7))::bit(28)::integer / 268435456.0::float8
$$;
create unlogged table sim.changes (id bigint generated always as identity, call integer, operation_id uuid, task uuid,
	was text, now text, was_attempt integer, attempt integer, was_held boolean, held boolean);
create index on sim.changes (operation_id);
"""

# Nobody but the simulator locks anything: vacuum would, to give room at the end of a table back.
TRIGGERS = """
do $$
declare
	name text;
begin
	for name in select format('kser.%I', relname) from pg_class where relnamespace = 'kser'::regnamespace and relkind = 'r' loop
		execute format('alter table %s set (vacuum_truncate = off, toast.vacuum_truncate = off)', name);
	end loop;
end
$$;
alter table sim.changes set (vacuum_truncate = off);
create function sim.task_changed() returns trigger language plpgsql as $$
begin
	insert into sim.changes (call, operation_id, task, was, now, was_attempt, attempt)
	values (current_setting('sim.call')::integer, new.operation_id, new.uuid, old.status, new.status, old.attempt, new.attempt);
	return null;
end
$$;
create function sim.operation_changed() returns trigger language plpgsql as $$
begin
	insert into sim.changes (call, operation_id, was, now, was_held, held)
	values (current_setting('sim.call')::integer, new.id, old.status, new.status, old.held, new.held);
	return null;
end
$$;
create trigger task_changed after update of status, attempt on kser.tasks for each row
	when (old.status <> new.status or old.attempt <> new.attempt) execute function sim.task_changed();
create trigger operation_changed after update of status, held on kser.operations for each row
	when (old.status <> new.status or old.held <> new.held) execute function sim.operation_changed();
"""

# Tables that are emptied after a schedule that ended badly, so that the next one starts on clean ground, and now and then: the more
# rows of earlier schedules, the longer two states take to compare.
STATE = ("operations", "tasks", "ready", "claims", "instances", "samples", "keys", "workers", "history", "stops", "suspects", "proofs", "counters", "dead_letters", "ended_operations")


def start_server():
    server = Postgres(**FAST)
    try:
        server.start()
    except BaseException:
        server.remove()
        raise
    return server


def of_the_simulator(text):
    """A source file as it is installed."""
    text = text.replace("clock_timestamp()", "sim.clock_timestamp()").replace("gen_random_uuid()", "sim.random_uuid()")
    return re.sub(r"(?<![\w.])random\(\)", "sim.random()", text)


def source(name):
    return (ROOT / "sql" / name).read_text()


# A statement of the engine's own is installed as a function: `$1` is its first argument in both.
STATEMENTS = {"statements/apply_plain.sql": (
    "sim.apply_plain", "bigint, bigint, uuid[], integer[], uuid[], integer[], bigint[], integer[], integer[], text[], text[], text[], json[], json[]",
    "input integer, freed text, ended_partition integer, queue text, uuid uuid, attempt integer, epoch bigint, entrypoint text, params json, metadata json, deadline_ms bigint,"
    " limit_ms bigint, start_by_ms bigint, flags integer")}


def installed(name, text):
    """What installs a source file with that text."""
    if name not in STATEMENTS:
        return text
    function, arguments, columns = STATEMENTS[name]
    # In plpgsql, which keeps the plan from call to call as the programs do.
    return (f"create or replace function {function}({arguments}) returns table ({columns}) language plpgsql volatile as $text$\n#variable_conflict use_column\n"
            f"begin\nreturn query\n{text};\nend\n$text$;")


def files_in_order():
    return [line for line in (ROOT / "sql" / "order.txt").read_text().split() if line.endswith(".sql")]


def patched(name, patches):
    """A function's source with the patches of a mutant that concern it; each must be found."""
    text = source(name)
    for file, old, new in patches:
        if file == name:
            if callable(old):
                text = old(text)
            else:
                if old not in text:
                    raise LookupError(f"sql/{name} has no longer what a mutant replaces: {old!r}")
                text = text.replace(old, new)
    return of_the_simulator(text)


def install(database):
    """The whole schema in an empty database."""
    connection = database.connect()
    with connection.cursor() as cursor:
        cursor.execute("set sim.seconds = '0'; set sim.seed = 'install'; set client_min_messages = error;" + WORLD)
        migrations = sorted((ROOT / "migrations").glob("*.sql"))
        for migration in migrations:
            cursor.execute(of_the_simulator(migration.read_text()))
        for name in files_in_order():
            cursor.execute(patched(name, ()))
        for name in STATEMENTS:
            cursor.execute(installed(name, patched(name, ())))
        cursor.execute("select kser.schema_installed(%s, 'simulation')", (len(migrations),))
        cursor.execute("update kser.meta set traced_until = 'infinity'")  # what has ended is noted, and taken by nobody
        cursor.execute(TRIGGERS)
    connection.close()


def install_mutant(database, patches):
    """Replaces the functions that a mutant changes."""
    connection = database.connect()
    with connection.cursor() as cursor:
        for name in dict.fromkeys(file for file, _, _ in patches):
            text = patched(name, patches)
            if text == of_the_simulator(source(name)):
                raise LookupError(f"the mutant leaves sql/{name} as it is")
            cursor.execute("set sim.seconds = '0'; set sim.seed = 'mutant';" + installed(name, text))
    connection.close()


UUID_AS_TEXT = psycopg2.extensions.new_type((2950,), "UUID_AS_TEXT", lambda value, cursor: value)


class Session:
    """The one connection on which all actors call. Each call is a transaction; within `begin` … `commit` it is a
    subtransaction, and `back_to_start` undoes all of them: a backup put back."""

    def __init__(self, url):
        self.connection = psycopg2.connect(str(url), options=ENGINE)
        self.connection.autocommit = True
        psycopg2.extensions.register_type(UUID_AS_TEXT, self.connection)
        self.cursor = self.connection.cursor()
        self.number = 0        # of the last call
        self.inside = False    # a transaction is open
        self.open_call = False
        self.settings = ""     # to be set with the next call

    def start(self, seed, seconds):
        self.number = 0
        self.seconds = seconds
        self.settings = ""
        self.cursor.execute(f"select setval('sim.looks', 1); set sim.seed = '{seed}'; set sim.seconds = '{seconds:.3f}'; set sim.call = '0'")

    def set_clock(self, seconds):
        self.seconds = seconds
        self.settings = f"set sim.seconds = '{seconds:.3f}';"

    def begin(self):
        self.cursor.execute("begin; savepoint start")
        self.inside = True

    def back_to_start(self):
        self.cursor.execute("rollback to savepoint start")
        self.open_call = False
        self.set_clock(self.seconds)

    def commit(self):
        if self.inside:
            self.cursor.execute("commit")
        self.inside = self.open_call = False

    def abandon(self):
        """After a schedule that ended badly."""
        if self.inside:
            self.cursor.execute("rollback")
        self.inside = self.open_call = False
        self.empty()
        self.cursor.execute("update kser.meta set halted = null; delete from kser.queues where name <> ''")

    def empty(self):
        names = ", ".join(f"kser.{name}" for name in STATE)
        self.cursor.execute(f"truncate {names}, sim.changes")

    def rows(self, statement, *arguments):
        self.number += 1
        text = f"{self.settings}set sim.call = '{self.number}';{statement}"
        if self.inside:
            text = ("release savepoint call;" if self.open_call else "") + "savepoint call;" + text
        try:
            self.cursor.execute(text, arguments)
        except psycopg2.Error:
            if self.inside:
                self.cursor.execute("rollback to savepoint call")
                self.open_call = True
            raise
        self.open_call = self.inside
        self.settings = ""
        return self.cursor.fetchall() if self.cursor.description else []

    @contextlib.contextmanager
    def undone(self):
        """What is called within is undone, and the clock of the next call is as it was."""
        before = "release savepoint call; savepoint twin;" if self.open_call else "savepoint twin;" if self.inside else "begin;"
        self.open_call = False
        (looks,), = self.look("select last_value from sim.looks")
        try:
            self.cursor.execute(before + self.settings)
            yield
        finally:
            self.cursor.execute("rollback to savepoint twin; release savepoint twin;" if self.inside else "rollback;")
            self.cursor.execute(f"select setval('sim.looks', {looks})")

    def value(self, statement, *arguments):
        rows = self.rows(statement, *arguments)
        return rows[0][0] if rows else None

    def look(self, statement, *arguments):
        """A question of the checker's, which no actor asks."""
        self.cursor.execute(statement, arguments)
        return self.cursor.fetchall()

    def close(self):
        self.connection.close()
