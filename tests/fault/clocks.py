"""Clocks of hosts that are wrong by ten minutes, or step: leases use the database's clock, waits a clock that does not step."""

import time
from datetime import datetime, timezone

from fault.arena import wait_until
from fault.run import fault

TEN_MINUTES = 600


def clock(run, of, seconds):
    """The environment of a program whose clock is wrong (tests/support/wrong_clock.c): what its own code sees, not what the libraries wait by."""
    library = run.arena.processes.binaries.parent / "lib" / "wrong-clock.so"
    return {"LD_PRELOAD": str(library), "WRONG_CLOCK_SECONDS": str(seconds), "WRONG_CLOCK_OF": of}


def clock_of_log(process):
    """By how many seconds the program's clock is wrong, by the time of its last log line."""
    stamp = process.text().splitlines()[-1].split()[0].removeprefix("time=")
    return (datetime.fromisoformat(stamp.replace("Z", "+00:00")) - datetime.now(timezone.utc)).total_seconds()


def wrong_clocks(run, role, offsets):
    arena = run.arena
    group, start = (arena.workers, arena.worker) if role == "worker" else (arena.orchestrators, arena.orchestrator)
    for process in list(group):
        arena.leave(process)
    for offset in offsets:
        start(environment=clock(run, "kser", offset))
    arena.settle_fleet()
    for process, offset in zip(group, offsets):
        run.hit(abs(clock_of_log(process) - offset) < 120)
    begin = time.time()
    ids = [run.submit(arena.work(3000), arena.work(), arena.command()) for _ in range(4)]
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 60, "long tasks under wrong clocks")
    run.sleep(10)
    run.clear(begin, repeats=False)
    for process in list(group):
        arena.leave(process)
    arena.fleet()


@fault("worker-clocks", "one worker's clock is ten minutes ahead, the other's ten behind; no repeat is excused", "time", seeds=1, wanted=2)
def worker_clocks(run):
    wrong_clocks(run, "worker", (TEN_MINUTES, -TEN_MINUTES))


@fault("orchestrator-clocks", "one orchestrator's clock is ten minutes ahead, the other's ten behind; no repeat is excused", "time", seeds=1, wanted=2)
def orchestrator_clocks(run):
    wrong_clocks(run, "orchestrator", (TEN_MINUTES, -TEN_MINUTES))


@fault("database-clock", "the database's clock steps ten minutes ahead and back (over a restart each time)", "time", seeds=1, wanted=3, fresh=True)
def database_clock(run):
    server = run.arena.postgres
    run.one_clock = False
    try:
        for offset in (TEN_MINUTES, -TEN_MINUTES, 0):
            begin = time.time()
            server.stop()
            server.environment = clock(run, "postgres", offset)
            server.start()
            run.clear(begin)
            wrong = run.arena.database.value("select extract(epoch from clock_timestamp())::float8") - time.time()
            run.hit(abs(wrong - offset) < 120)
            run.sleep(10)
            run.flow(20)
    finally:
        server.environment = {}
    run.clears.clear()  # the audit's times are the database's
