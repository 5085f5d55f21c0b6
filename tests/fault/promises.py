"""Promises that are shown one by one: each prepares a situation, does one thing to it and looks at what the ledgers say."""

import time
from collections import Counter
from pathlib import Path

from fault.ledgers import read_executions
from fault.arena import wait_until
from fault.run import fault


def executions_of(run, ids):
    wanted = set(ids)
    return [e for e in read_executions(run.arena.executions) if e.operation in wanted]


@fault("show:long-task", "a worker is killed in the middle of a 60 s task: another one starts it within 15 s, it ends SUCCESS, history tells", "promises", seeds=1, load=4, settle=120)
def long_task(run):
    arena = run.arena
    id = run.submit(arena.work(60000), arena.work())
    wait_until(lambda: executions_of(run, [id]), 30, "the long task to start")
    first = executions_of(run, [id])[0]
    run.sleep(25)
    victim = next(worker for worker in arena.workers if worker.pid == first.pid)
    killed = time.time()
    run.kill(victim)
    wait_until(lambda: len(executions_of(run, [id])) > 1, 60, "the long task to start again")
    second = executions_of(run, [id])[1]
    run.note(f"started again after {second.start - killed:.1f} s, attempt {second.attempt}")
    run.demand(second.start - killed <= 15, "recovery", f"started again only after {second.start - killed:.1f} s", [id])
    run.demand(second.pid != first.pid, "recovery", "by a process that is dead", [id])
    wait_until(lambda: arena.statuses([id])["SUCCESS"], 90, "the operation to succeed")
    run.demand("expired" in run.history(id), "recovery", f"its history does not tell: {run.history(id)}", [id])
    run.note(f"history: {run.history(id)}")


@fault("show:long-queue", "20,000 tasks are queued and no worker is there for 5 minutes, then one: each is executed exactly once", "promises", seeds=1, load=0, workers=0, settle=300)
def long_queue(run):
    long_wait(run, 20000, 300)


@fault("show:queue", "5,000 tasks are queued and no worker is there for 20 s, then one: each is executed exactly once", "promises", quick=True, seeds=1, load=0, workers=0, settle=200)
def queue(run):
    long_wait(run, 5000, 20)


def long_wait(run, count, seconds):
    arena = run.arena
    ids = [id for _ in range(count // 1000) for id in run.submit_many([([arena.work()], {}) for _ in range(1000)])]
    begin = time.time()
    time.sleep(seconds)
    run.demand(not executions_of(run, ids), "no phantom", "executed without a worker")
    arena.worker()
    run.hit()
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == count, 300, f"{count} operations to succeed", pause=1)
    run.note(f"all done {time.time() - begin - seconds:.0f} s after the worker came")
    counts = Counter(e.operation for e in executions_of(run, ids))
    run.demand(len(counts) == count and max(counts.values()) == 1, "explained", f"{sum(1 for c in counts.values() if c > 1)} tasks ran more than once")


def processes_of(operation):
    """The pids of all processes that carry an operation's id in their environment."""
    mark, found = f"KSER_OPERATION={operation}".encode(), []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and mark in (place / "environ").read_bytes().split(b"\0") and (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            pass
    return found


@fault("show:cancel", "cancel of a running `sh -c 'sleep 987 & sleep 987'`: all of its processes are gone within 3 s", "promises", quick=True, seeds=1)
def cancel(run):
    for _ in range(3):
        id = run.submit({"entrypoint": "ledger.sleepers", "params": {}}, run.arena.work(), expected="FAILED")
        wait_until(lambda: len(processes_of(id)) >= 3, 30, "the command and its child to run")
        answer = run.arena.database.value("select kser.cancel(%s, 'not wanted any more')", id)
        asked = time.monotonic()
        run.hit()
        try:
            wait_until(lambda: not processes_of(id), 20, "its processes to be gone")
        except AssertionError as reason:
            run.violate("recovery", str(reason), [id])
        run.note(f"{answer}, gone after {time.monotonic() - asked:.1f} s")
        run.demand(time.monotonic() - asked <= 3, "recovery", f"its processes were gone only after {time.monotonic() - asked:.1f} s", [id])
        wait_until(lambda: run.arena.statuses([id])["FAILED"], 30, "the operation to end")
        error = run.arena.database.value("select error from kser.operations where id = %s", id)
        run.demand(error == "Cancelled", "one end", f"its error is {error}", [id])


def steer(run, verb, ids):
    """A verb on many operations; those that went on meanwhile are asked again, as its answer says. {answer: how many}"""
    answers, left = Counter(), list(ids)
    while left:
        rows = run.arena.database.query(f"select operation_id::text, answer from kser.{verb}_many(%s::uuid[])", left)
        left = [id for id, answer in rows if answer == "moved"]
        answers.update(answer for _, answer in rows)
    return answers


@fault("show:pause", "1,000 running operations are paused under load: no task becomes RUNNING after the pause returned; resumed, all end", "promises", quick=True, seeds=1, settle=240)
def pause(run):
    arena = run.arena
    ids = run.submit_many([([arena.work(20)] * 6, {}) for _ in range(1000)])
    wait_until(lambda: arena.statuses(ids)["RUNNING"] > 900 or arena.statuses(ids)["SUCCESS"] > 50, 60, "1,000 running operations")
    wait_until(lambda: len(executions_of(run, ids)) > 500, 60, "tasks that run")
    answers = steer(run, "pause", ids)
    returned = time.time()
    run.hit()
    run.note(f"answers {dict(answers)}")
    run.sleep(5)
    late = arena.database.query("select operation_id::text, position from audit.changes where operation_id = any (%s::uuid[]) and status = 'RUNNING' and position is not null"
                                " and at > to_timestamp(%s)", ids, returned)
    run.demand(not late, "one end", f"{len(late)} tasks became RUNNING after the pause had returned", [id for id, _ in late])
    held = arena.statuses(ids)
    run.demand(held["SUCCESS"] < 900, "run", f"nothing was left to pause: {held}")
    run.note(f"resumed: {dict(steer(run, 'resume', [id for id in ids]))}")
    run.clear(repeats=False)
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 200, "all to succeed", pause=0.5)


@fault("show:retry", "1,000 operations fail at step 3 of 5, are mended and retried: steps 1 and 2 do not run again", "promises", quick=True, seeds=1, settle=240)
def retry(run):
    arena = run.arena
    mended = arena.directory / f"mended-{run.seed}"
    tasks = [arena.work(), arena.work(), arena.broken(mended), arena.work(), arena.work()]
    ids = run.submit_many([(tasks, {}) for _ in range(1000)])
    wait_until(lambda: arena.statuses(ids)["FAILED"] == len(ids), 120, "1,000 operations to fail", pause=0.5)
    begin = time.time()
    mended.touch()
    run.note(f"answers {dict(steer(run, 'retry', ids))}")
    run.hit()
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 120, "1,000 operations to succeed", pause=0.5)
    run.clear(begin)
    positions = {row[0]: row[1] for row in arena.database.query("select uuid::text, position from kser.tasks where operation_id = any (%s::uuid[])", ids)}
    counts = Counter((e.operation, positions.get(e.task)) for e in executions_of(run, ids))
    wrong = [key for key, count in counts.items() if count != (2 if key[1] == 2 else 1)]
    run.demand(not wrong and len(counts) == 5000, "explained", f"{len(wrong)} steps ran another number of times than wanted, {len(counts)} steps in all", wrong[:5])
