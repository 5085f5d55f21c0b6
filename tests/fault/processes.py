"""Faults of the programs: killed, frozen, told to leave, crashed by a task, out of descriptors."""

import resource
import time

from fault.arena import LEASE, wait_until
from fault.ledgers import read_executions
from fault.run import fault


@fault("kill-worker", "kill -9 a worker, a new one starts at once", "processes", quick=True, seeds=3)
def kill_worker(run):
    for _ in range(2):
        run.kill(run.random.choice(run.arena.workers))
        run.arena.worker()
        run.arena.settle_fleet()
        run.flow(20)


@fault("kill-orchestrator", "kill -9 an orchestrator, a new one starts at once", "processes", quick=True, seeds=3)
def kill_orchestrator(run):
    for _ in range(3):
        run.kill(run.random.choice(run.arena.orchestrators))
        run.arena.orchestrator()
        run.flow(30)
    run.arena.settle_fleet()


@fault("kill-one-of-three", "kill -9 one of three orchestrators and nobody starts another", "processes", orchestrators=3, seeds=1)
def kill_one_of_three(run):
    run.kill(run.arena.orchestrators[0])
    run.flow(60)


@fault("kill-all", "kill -9 all orchestrators and workers at once", "processes", quick=True, seeds=3)
def kill_all(run):
    ids = run.submit_many([([run.arena.work(700)] * 3, {}) for _ in range(10)])
    wait_until(lambda: run.arena.statuses(ids)["RUNNING"] == len(ids), 30, "something to be in flight")
    for process in [*run.arena.orchestrators, *run.arena.workers]:
        run.kill(process)
    run.arena.fleet()
    run.flow(20)


@fault("freeze-worker", "SIGSTOP a worker until its tasks have begun elsewhere, then SIGCONT: its late results touch nothing", "processes", quick=True, seeds=2)
def freeze_worker(run):
    """It goes on while the second attempts run, so that results of the first ones come to rows that are RUNNING again."""
    arena = run.arena
    ids = run.submit_many([([arena.work(3500), arena.work()], {}) for _ in range(8)])
    wait_until(lambda: (arena.ask("select count(*) from kser.claims where operation_id = any (%s::uuid[])", ids) or 0) == len(ids), 20, "tasks that are claimed")
    first = next(e for e in read_executions(arena.executions) if e.operation in ids)
    time.sleep(max(0, first.start + 3.3 - time.time()))  # what is left after SIGCONT is shorter than the way of a stop
    with run.frozen(next(worker for worker in arena.workers if worker.pid == first.pid)):
        wait_until(lambda: any(e.operation in ids and e.attempt == 2 for e in read_executions(arena.executions)), 60, "second attempts")
    late = "select coalesce(sum(value), 0) from kser.counters where name in ('replies_late', 'releases_late')"
    before = arena.ask(late)
    run.flow(20)
    run.note(f"{arena.ask(late) - before} late replies after it went on")


@fault("freeze-orchestrator", f"SIGSTOP an orchestrator for {LEASE + 5} s, then SIGCONT", "processes", quick=True, seeds=2)
def freeze_orchestrator(run):
    with run.frozen(run.arena.orchestrators[run.seed % 2]):
        run.sleep(LEASE + 5)
    run.flow(20)


@fault("freeze-all", f"SIGSTOP everything for {LEASE + 5} s, then SIGCONT", "processes", seeds=1)
def freeze_all(run):
    begin = time.time()
    processes = [*run.arena.orchestrators, *run.arena.workers]
    for process in processes:
        process.freeze()
    run.sleep(LEASE + 5)
    for process in processes:
        process.thaw()
        run.hit()
    run.clear(begin)
    run.flow(20)


@fault("leave-worker", "SIGTERM a worker while another runs, again and again; no repeat is excused", "processes", quick=True, seeds=1)
def leave_worker(run):
    leave_many(run, run.arena.workers, run.arena.worker, 8)


@fault("leave-orchestrator", "SIGTERM an orchestrator while another runs, again and again; no repeat is excused", "processes", quick=True, seeds=1)
def leave_orchestrator(run):
    leave_many(run, run.arena.orchestrators, run.arena.orchestrator, 8)


@fault("leave-100", "SIGTERM 100 times, workers and orchestrators in turn; no repeat is excused", "processes", seeds=1, settle=120)
def leave_100(run):
    for _ in range(25):
        leave_many(run, run.arena.workers, run.arena.worker, 2)
        leave_many(run, run.arena.orchestrators, run.arena.orchestrator, 2)


def leave_many(run, group, start, times):
    for _ in range(times):
        start()
        run.arena.settle_fleet()
        began = time.monotonic()
        code = run.arena.leave(group[0])
        run.demand(code == 0, "programs", f"left with {code}")
        run.demand(time.monotonic() - began < 20, "programs", f"took {time.monotonic() - began:.0f} s to leave")
        run.clear(repeats=False)
        run.hit()


@fault("crash-task", "a task that kills its worker each time: parked, and the fleet lives on", "processes", quick=True, seeds=1, settle=120)
def crash_task(run):
    killer = run.submit(run.arena.crash(300), expected="FAILED", name="killer")
    begin = time.time()

    def tend():
        """A fleet as a service manager keeps it: who died is started again."""
        for worker in list(run.arena.workers):
            if not worker.running:
                run.hit()
                run.arena.excused.add(worker.pid)
                run.arena.forget(worker)
                run.arena.worker()
        return run.arena.ask("select status::text from kser.operations where id = %s", killer) == "FAILED"

    wait_until(tend, 150, "the task to be parked")
    run.clear(begin)
    run.note(f"history of the killer: {run.history(killer)}")
    run.demand(run.hits <= 5, "bounded", f"{run.hits} workers died of one task")


@fault("no-descriptors", "an orchestrator and a worker with so few descriptors that they run out", "processes", seeds=1)
def no_descriptors(run):
    run.tolerated = {"LedgerError", "InternalError"}  # a task that cannot open its file has failed, and so has one whose program cannot be started
    for start, group in ((run.arena.orchestrator, run.arena.orchestrators), (run.arena.worker, run.arena.workers)):
        run.arena.leave(group[0])
        process = start()
        run.arena.settle_fleet()
        begin = time.time()
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (8, hard))
        run.hit()
        run.sleep(6)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1024, hard))
        run.clear(begin)
        if not process.running:  # it may give up, in order
            run.arena.excused.add(process.pid)
            run.note(f"{process.name} gave up with {process.returncode}")
            run.arena.forget(process)
            start()
        run.arena.settle_fleet()
