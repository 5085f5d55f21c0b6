"""Clocks of hosts that are wrong by ten minutes, or step: leases use the database's clock, waits a clock that does not step."""

import time
from pathlib import Path

from fault.arena import wait_until
from fault.run import fault

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def has_library():
    return None if LIBRARY.exists() else "needs the Debian package libfaketime"


def clock(offset):
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def wrong_clocks(run, role, offsets):
    arena = run.arena
    group, start = (arena.workers, arena.worker) if role == "worker" else (arena.orchestrators, arena.orchestrator)
    for process in list(group):
        arena.leave(process)
    for offset in offsets:
        start(environment=clock(offset))
        run.hit()
    arena.settle_fleet()
    begin = time.time()
    ids = [run.submit(arena.work(3000), arena.work(), arena.command()) for _ in range(4)]
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 60, "long tasks under wrong clocks")
    run.sleep(10)
    run.clear(begin, repeats=False)
    for process in list(group):
        arena.leave(process)
    arena.fleet()


@fault("worker-clocks", "one worker's clock is ten minutes ahead, the other's ten behind; no repeat is excused", "time", seeds=1, needs=has_library)
def worker_clocks(run):
    wrong_clocks(run, "worker", ("+10m", "-10m"))


@fault("orchestrator-clocks", "one orchestrator's clock is ten minutes ahead, the other's ten behind; no repeat is excused", "time", seeds=1, needs=has_library)
def orchestrator_clocks(run):
    wrong_clocks(run, "orchestrator", ("+10m", "-10m"))


@fault("database-clock", "the database's clock steps ten minutes ahead and back (libfaketime, over a restart each time)", "time", seeds=1, needs=has_library, fresh=True)
def database_clock(run):
    server = run.arena.postgres
    run.one_clock = False
    try:
        for offset in ("+10m", "-10m", None):
            begin = time.time()
            server.stop()
            server.environment = clock(offset) if offset else {}
            server.start()
            run.clear(begin)
            run.hit()
            run.sleep(10)
            run.flow(20)
    finally:
        server.environment = {}
    run.clears.clear()  # the audit's times are the database's
