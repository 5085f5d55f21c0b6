"""Faults of PostgreSQL and of the way to it."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from fault.arena import wait_until
from fault.run import fault
from support.postgres import Postgres


def restart(run, number, times, pause):
    for _ in range(times):
        begin = time.time()
        run.arena.postgres.stop(number)
        run.arena.postgres.start()
        run.clear(begin)
        run.hit()
        run.sleep(run.random.uniform(*pause))
    run.flow(20)


@fault("restart-fast", "PostgreSQL restarts (fast) every few seconds", "database", seeds=2)
def restart_fast(run):
    restart(run, signal.SIGINT, 4, (2, 5))


@fault("restart-immediate", "PostgreSQL crashes (immediate) and recovers every few seconds", "database", quick=True, seeds=2)
def restart_immediate(run):
    restart(run, signal.SIGQUIT, 4, (2, 5))


@fault("database-away", "PostgreSQL is away for 25 s; results wait in Kafka", "database", seeds=1)
def database_away(run):
    with run.during():
        run.arena.postgres.stop()
        run.hit()
        time.sleep(25)
        run.arena.postgres.start()
    run.flow(20)


@contextmanager
def through_proxy(run):
    """Orchestrators and the client reach the database through a proxy."""
    arena, own = run.arena, run.arena.url
    proxy = arena.proxy(run.seed)
    run.stop_load()
    for process in list(arena.orchestrators):
        arena.leave(process)
    arena.url = arena.url_through(proxy)
    arena.fleet()
    run.start_load(arena.url)
    try:
        yield proxy
    finally:
        proxy.mode = "pass"
        arena.url = own
        run.flow(20)
        run.stop_load()
        for process in list(arena.orchestrators):
            arena.leave(process)
        arena.fleet()


@fault("reset", "every connection to PostgreSQL is reset in the middle of what it does, again and again", "database", quick=True, seeds=2)
def reset(run):
    with through_proxy(run) as proxy:
        for _ in range(8):
            with run.during():
                run.hit(1 if proxy.cut() else 0)
            run.sleep(run.random.uniform(0.3, 2))


@fault("unknown-outcome", "the connection is cut after the server has done what was asked for, before it says so", "database", quick=True, seeds=3)
def unknown_outcome(run):
    with through_proxy(run) as proxy:
        with run.during():
            proxy.every = run.random.choice((15, 25, 40))
            proxy.mode = "unknown"
            run.sleep(12)
            proxy.mode = "pass"
        run.hit(proxy.cuts)


@fault("half-open", "connections to PostgreSQL are open and nothing passes, for 12 s each time", "database", quick=True, seeds=2)
def half_open(run):
    with through_proxy(run) as proxy:
        for _ in range(2):
            with run.during():
                proxy.mode = "frozen"
                run.hit()
                run.sleep(12)
                proxy.mode = "pass"
            run.flow(20)


@fault("one-frozen", "one orchestrator's connections are half-open for 20 s, the other's are well", "database", seeds=2)
def one_frozen(run):
    arena = run.arena
    proxy, own = arena.proxy(run.seed), arena.url
    arena.leave(arena.orchestrators[run.seed % len(arena.orchestrators)])
    arena.url = arena.url_through(proxy)
    process = arena.orchestrator()
    arena.url = own
    arena.settle_fleet()
    run.flow(10)
    begin = time.time()
    run.clears.append(begin)  # the other one has to take over
    proxy.mode = "frozen"
    run.hit()
    run.sleep(20)
    proxy.mode = "pass"
    run.clear(begin)
    run.flow(20)
    arena.leave(process)


@fault("slow", "each round trip to PostgreSQL takes 50 ms to 2 s", "database", seeds=2, load=4)
def slow(run):
    with through_proxy(run) as proxy:
        with run.during():
            proxy.mode = "slow"
            for proxy.delays, seconds in (((0.05, 0.1), 8), ((0.2, 0.6), 12), ((0.5, 2.0), 20)):
                run.hit()
                run.sleep(seconds)
            proxy.mode = "pass"


def session(run, **options):
    return run.arena.database.connect(autocommit=False, **options)


def quietly(connection, statement, *parameters):
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
        return True
    except psycopg2.Error:
        connection.rollback()
        return False


LOCK_RUNNING = "select from kser.tasks where status = 'RUNNING' limit %s for update"


@fault("locks", "other sessions lock rows of running tasks, operations and waiting ones for seconds, in every order", "database", quick=True, seeds=2)
def locks(run):
    statements = [LOCK_RUNNING, "select from kser.operations where finished_at is null limit %s for update", "select from kser.ready limit %s for update",
                  "select from kser.claims limit %s for update", "select from kser.instances limit %s for update"]
    others = [session(run) for _ in range(3)]
    with run.during():
        for _ in range(10):
            for other in others:
                quietly(other, "set lock_timeout = '1 s'")
                run.hit(quietly(other, run.random.choice(statements), run.random.choice((1, 5, 50))))
            run.sleep(run.random.uniform(0.2, 2))
            for other in others:
                other.rollback()
    for other in others:
        other.close()


@fault("deadlocks", "other sessions lock tasks and operations in the wrong order, so that deadlocks happen", "database", seeds=2)
def deadlocks(run):
    end = time.monotonic() + 20

    def cross():
        other = session(run)
        while time.monotonic() < end:
            if quietly(other, "select from kser.operations where finished_at is null order by random() limit 20 for update"):
                quietly(other, "select from kser.tasks t where t.operation_id in (select id from kser.operations where finished_at is null) order by random() limit 20 for update")
            other.rollback()
        other.close()

    with run.during(), counted_in_log(run, b"deadlock detected"):
        threads = [threading.Thread(target=cross) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@contextmanager
def setting_of_database(run, setting, value):
    """A setting for all new sessions of the database; the old ones are ended, before and after."""
    name = run.arena.database.name
    run.arena.postgres.execute(f"alter database {name} set {setting} = {value}")
    end_sessions(run)
    try:
        yield
    finally:
        run.arena.postgres.execute(f"alter database {name} reset {setting}")
        end_sessions(run)


@contextmanager
def counted_in_log(run, words):
    """Hits are the lines of the server's log that say so."""
    log = run.arena.postgres.log
    size = log.stat().st_size
    yield
    with open(log, "rb") as file:
        file.seek(size)
        run.hit(file.read().count(words))


def end_sessions(run):
    run.arena.postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{run.arena.database.name}' and pid <> pg_backend_pid()")


@fault("terminate", "an administrator ends the backends of the programs, again and again", "database", seeds=1)
def terminate(run):
    for _ in range(6):
        with run.during():
            end_sessions(run)
            run.hit()
        run.sleep(run.random.uniform(0.5, 2.5))


@fault("cancel-queries", "statements are cancelled at random (57014), as a statement time-out does", "database", seeds=2)
def cancel_queries(run):
    cancel = ("select count(*) filter (where pg_cancel_backend(pid)) from pg_stat_activity where datname = current_database() and state = 'active'"
              " and pid <> pg_backend_pid() and backend_type = 'client backend'")
    with run.during():
        for _ in range(600):
            run.hit(run.arena.ask(cancel) or 0)
            time.sleep(0.02)


@fault("statement-timeout", "a statement time-out of 3 ms for all sessions, for 10 s", "database", seeds=1)
def statement_timeout(run):
    with run.during(), counted_in_log(run, b"due to statement timeout"):
        with setting_of_database(run, "statement_timeout", "'3ms'"):
            run.sleep(10)


@fault("serializable", "the database's default isolation is serializable for 12 s, so that transactions fail with 40001 or are refused", "database", seeds=1)
def serializable(run):
    with run.during():
        with setting_of_database(run, "default_transaction_isolation", "'serializable'"):
            run.hit()
            run.sleep(12)


@fault("read-only", "the database is read-only for 10 s, as a standby is", "database", quick=True, seeds=1)
def read_only(run):
    with run.during():
        with counted_in_log(run, b"in a read-only transaction"), setting_of_database(run, "default_transaction_read_only", "on"):
            run.sleep(10)


@fault("connections", "others hold all connections, and those of the programs are ended", "database", seeds=1)
def connections(run):
    with run.during():
        held = []
        for _ in range(2):
            while take_connection(run, held):
                pass
            if held:
                try:
                    with held[0].cursor() as cursor:
                        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'kser' and pid <> pg_backend_pid()")
                except psycopg2.Error:
                    pass
        run.hit(1 if len(held) > 100 else 0)
        run.note(f"{len(held)} connections held")
        run.sleep(10)
        for connection in held:
            connection.close()


def take_connection(run, held):
    try:
        held.append(run.arena.database.connect())
        return True
    except psycopg2.OperationalError:
        return False


@fault("snapshot", "a snapshot is pinned for 60 s under load", "database", seeds=1, load=30)
def snapshot(run):
    other = session(run)
    other.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_REPEATABLE_READ)
    quietly(other, "select count(*) from kser.tasks")
    run.hit()
    with run.during(repeats=False):
        run.sleep(60)
    run.flow(50, seconds=30)
    other.rollback()
    other.close()


def only_root():
    return None if os.geteuid() == 0 else "needs root for a tmpfs"


@contextmanager
def on_tmpfs(suite):
    """A PostgreSQL whose directory is a tmpfs of 400 MB."""
    place = Path(tempfile.mkdtemp(prefix="kser-tmpfs-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", place], check=True)
    server = None
    try:
        server = Postgres(place, track_commit_timestamp="on", max_wal_size="64MB", min_wal_size="32MB", shared_buffers="32MB")
        server.start()
        yield server
    finally:
        if server:
            server.stop(signal.SIGQUIT)
        subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()


def refuses_writes(run):
    try:
        run.arena.database.query("create table audit.filler as select repeat(md5(n::text), 10) from generate_series(1, 100000) n")
        run.arena.database.query("drop table audit.filler")
    except psycopg2.Error:
        return True
    return False


@fault("disk-full", "PostgreSQL's disk (a tmpfs) is full: it stops with PANIC; space again, and it is started", "database", seeds=1, fresh=True, needs=only_root, server=on_tmpfs)
def disk_full(run):
    server = run.arena.postgres
    ballast = server.directory / "ballast"
    begin = time.time()
    with open(ballast, "wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        except OSError:
            pass
    wait_until(lambda: not server.running() or refuses_writes(run), 60, "the server to notice")
    run.hit()
    for _ in range(20):  # what is written ahead needs a new segment soon
        run.arena.ask("select pg_switch_wal() from (select pg_logical_emit_message(false, 'fault', repeat('x', 1000))) as written")
        run.sleep(0.4)
    run.note("PostgreSQL stopped" if not server.running() else "PostgreSQL refused to write")
    ballast.unlink()
    if not server.running():
        server.start()
    run.clear(begin)
    run.flow(20)
