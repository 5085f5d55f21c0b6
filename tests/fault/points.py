"""Crash points: a program with KSER_FAULT dies (or is frozen for longer than a lease) exactly there, and the log of the points
proves that it did."""

import json
import time
import uuid

from fault.arena import LEASE, wait_until
from fault.ledgers import body_hash
from fault.run import fault
from support.seal import unseal

HIT_SECONDS = 45

# name: how often the load passes the point, about: 20 is each message or batch, 3 is each round.
ORCHESTRATOR = {
    "admit.after_commit_before_produce": 10,
    "apply.before_commit": 20,
    "apply.after_commit_before_produce": 20,
    "apply.after_produce_before_ack": 20,
    "apply.after_ack_before_commit_offset": 20,
    "claim.before_apply": 3,
    "claim.after_apply": 3,
    "round.after_begin": 3,
    "round.after_look": 3,
}
WORKER = {
    "worker.after_poll": 20,
    "worker.before_run": 20,
    "worker.mid_run": 20,
    "worker.after_run_before_produce": 20,
    "worker.after_produce_before_offset": 20,
}


def points_hit(run, point, since):
    return [pid for name, _, pid in run.arena.faults()[since:] if name == point]


def wait_for_point(run, point, since, process):
    """Until the point was hit; a frozen process goes on after more than a lease."""
    begin = time.time()
    wait_until(lambda: points_hit(run, point, since), HIT_SECONDS, f"{point} to be reached", pause=0.02)
    run.hit()
    run.clear()
    if process.running and run.seed % 3 == 1:
        run.clears.pop()
        run.clears.append(time.time())
        time.sleep(LEASE + 4)
        process.thaw()
        run.windows.append((begin, time.time() + 15))
    else:
        process.wait(10)
        run.arena.forget(process)


def action(run, times):
    """Which of the passes it is, and what: mostly a kill; each third seed freezes."""
    what = "stop" if run.seed % 3 == 1 else "kill"
    return f"{what}@{run.random.randint(1, times)}"


def arm_orchestrator(run, point, times, alone=False):
    """An orchestrator with the fault that has the keeper's role; with every second seed another one stands by, unless it is to be alone.
    (process, log mark)"""
    arena = run.arena
    for process in list(arena.orchestrators):
        arena.leave(process)
    mark = len(arena.faults())
    process = arena.orchestrator(fault=f"{point}={action(run, times)}")
    wait_until(lambda: points_hit(run, point, mark) or arena.ask("select count(*) from kser.instances where keeper_until > clock_timestamp()"), 30, "a keeper")
    if run.seed % 2 == 0 and not alone:
        arena.orchestrator()
    return process, mark


def orchestrator_point(point, times):
    def act(run):
        process, mark = arm_orchestrator(run, point, times)
        wait_for_point(run, point, mark, process)
        run.arena.fleet()
        run.flow(20)
    return act


def worker_point(point, times):
    def act(run):
        run.arena.leave(run.arena.workers[0])
        mark = len(run.arena.faults())
        process = run.arena.worker(fault=f"{point}={action(run, times)}")
        wait_for_point(run, point, mark, process)
        run.arena.fleet()
        run.flow(20)
    return act


for name, times in ORCHESTRATOR.items():
    fault(f"point:{name}", f"an orchestrator dies at {name}", "points", quick=True, seeds=3)(orchestrator_point(name, times))
for name, times in WORKER.items():
    fault(f"point:{name}", f"a worker dies at {name}", "points", quick=True, seeds=3)(worker_point(name, times))


@fault("point:submit_record.before_commit", "an orchestrator dies at submit_record.before_commit, a record of the operations topic in hand", "points", quick=True, seeds=2)
def submit_record(run):
    process, mark = arm_orchestrator(run, "submit_record.before_commit", 1, alone=True)  # the topic of operations has one partition
    key = str(uuid.uuid4())
    tasks = [run.arena.work(), run.arena.work()]
    message = {"uuid": key, "entrypoint": "record", "params": {}, "result": None, "metadata": {"kser": {"tasks": tasks}}}
    run.arena.client.note("intent", key, hash=body_hash("record", tasks))
    run.arena.write("operations", [json.dumps(message)])
    wait_for_point(run, "submit_record.before_commit", mark, process)
    run.arena.fleet()
    wait_until(lambda: run.arena.ids([key]), 60, "the operation of the record")
    (id, _), = run.arena.ids([key]).items()
    run.arena.client.note("ack", key, id=id)


def hold_claims(run, reached):
    """Long tasks that are claimed on both workers; not needed once the point was reached: by a claim of a worker that died earlier."""
    ids = run.submit_many([([run.arena.work(6000), run.arena.work()], {}) for _ in range(6)])
    wait_until(lambda: reached() or (run.arena.ask("select count(*) from kser.claims where operation_id = any (%s::uuid[])", ids) or 0) >= 4, 30, "claims")


@fault("point:expire.after", "an orchestrator dies at expire.after, a dead worker's claims just taken back", "points", quick=True, seeds=2)
def expire_point(run):
    process, mark = arm_orchestrator(run, "expire.after", 1)
    hold_claims(run, lambda: points_hit(run, "expire.after", mark))
    for worker in list(run.arena.workers):
        run.kill(worker)
    run.hits = 0
    run.clears.clear()  # a second death in the middle of the recovery from the first: it counts from there
    run.arena.worker()
    wait_for_point(run, "expire.after", mark, process)
    run.arena.fleet()
    run.flow(20)


@fault("point:lose.after", "an orchestrator dies at lose.after, lost messages just given back", "points", quick=True, seeds=2)
def lose_point(run):
    process, mark = arm_orchestrator(run, "lose.after", 1)
    lose_messages(run)
    wait_for_point(run, "lose.after", mark, process)
    run.arena.fleet()
    run.flow(20)


def opened(run, value):
    """A record's value, opened where records are sealed."""
    return unseal(run.arena.keys.ever, value) if run.arena.keys else value


def wait_for_dispatches(run, ids):
    """Until a record of each of these operations is in the default queue's topic."""
    reached, missing = {}, set(ids)

    def all_there():
        values = b"".join(opened(run, record.value()) or b"" for record in run.arena.kafka.read_from(run.arena.topic("tasks"), reached) if record.value())
        missing.difference_update([id for id in missing if id.encode() in values])
        return not missing

    wait_until(all_there, 30, "the first tasks to be dispatched")


def lose_messages(run, count=10):
    """Operations whose first dispatch is in the topic and will never be read: while no worker is there somebody commits offsets beyond them,
    in the way of a worker. The workers come back then."""
    from fault.wire import commit
    arena = run.arena
    for worker in list(arena.workers):
        arena.leave(worker)
    wait_until(lambda: arena.members("workers") == 0 or empty(arena), 30, "the workers' group to be empty")
    begin = time.time()
    ids = run.submit_many([([arena.work(), arena.work()], {}) for _ in range(count)])
    wait_for_dispatches(run, ids)
    ends = arena.kafka.ends(arena.topic("tasks"))
    codes = commit(int(arena.kafka.brokers.split(":")[1]), f"{arena.prefix}.workers", arena.topic("tasks"), dict(enumerate(ends)), "kser1")
    assert not any(codes), codes
    arena.worker()
    arena.worker()
    run.clear(begin)
    return ids


def empty(arena):
    found = arena.kafka.admin().list_groups(f"{arena.prefix}.workers", timeout=10)
    return not found or not found[0].members


@fault("point:worker.after_claim_before_run", "a worker dies at worker.after_claim_before_run, at work on what waited before it came", "points", quick=True, seeds=2)
def after_claim(run):
    arena = run.arena
    for worker in list(arena.workers):
        arena.leave(worker)
    waiting = run.submit_many([([arena.work(), arena.work()], {}) for _ in range(20)])
    wait_until(lambda: arena.ask("select count(*) from kser.operations where id = any (%s::uuid[]) and status = 'RUNNING'", waiting) == 20, 30, "dispatches that wait")
    mark = len(arena.faults())
    process = arena.worker(fault=f"worker.after_claim_before_run={action(run, 5)}")
    wait_for_point(run, "worker.after_claim_before_run", mark, process)
    arena.fleet()
    run.flow(20)


def drain_point(point):
    def act(run):
        run.arena.leave(run.arena.workers[0])
        mark = len(run.arena.faults())
        process = run.arena.worker(fault=f"{point}={'stop' if run.seed % 3 == 1 else 'kill'}")
        run.arena.settle_fleet()
        run.flow(10)
        process.terminate()
        wait_for_point(run, point, mark, process)
        if process.running:
            process.wait(60)
        run.arena.forget_the_dead()
        run.arena.fleet()
        run.flow(20)
    return act


for name in ("worker.drain_begin", "worker.drain_end"):
    fault(f"point:{name}", f"a worker that was told to leave dies at {name}", "points", quick=True, seeds=2)(drain_point(name))


@fault("point:submit.before_commit", "the client dies at submit.before_commit, then submits again", "points", quick=True, seeds=1, load=0)
def client_dies(run):
    arena = run.arena
    tasks = [arena.work()]
    environment = {**arena.environment, "KSER_FAULT": "submit.before_commit=kill", "KSER_FAULT_LOG": str(arena.fault_log)}
    for _ in range(3):
        key = f"cli-{uuid.uuid4()}"
        arena.client.note("intent", key, hash=body_hash("cli", tasks))
        text = json.dumps({"name": "cli", "tasks": tasks, "key": key, "key_for": 86400})
        mark = len(arena.faults())
        arena.processes.run("kser", "submit", "-", input=text, environment=environment)
        run.hit(len(arena.faults()) - mark)
        run.demand(not arena.ids([key]), "no phantom", "an operation of a client that died before its commit", [key])
        done = arena.processes.run("kser", "submit", "-", input=text, environment=arena.environment)
        run.demand(done.returncode == 0, "durable", f"the second submit: {done.stderr}", [key])
        arena.client.note("ack", key, id=done.stdout.strip())
    run.clear(repeats=False)


@fault("point:migrate.midway", "kser db migrate dies at migrate.midway, then runs again", "points", quick=True, seeds=1, load=0)
def migrate_dies(run):
    database = run.arena.postgres.create()
    try:
        log = {"KSER_FAULT": "migrate.midway=kill", "KSER_FAULT_LOG": str(run.arena.fault_log)}
        mark = len(run.arena.faults())
        run.arena.processes.run("kser", "--database", database, "db", "migrate", environment=log)
        run.hit(len(run.arena.faults()) - mark)
        again = run.arena.processes.run("kser", "--database", database, "db", "migrate")
        run.demand(again.returncode == 0, "durable", f"the second migrate: {again.stdout}{again.stderr}")
        same = "select string_agg(relname || relkind::text, ' ' order by relname) from pg_class where relnamespace = 'kser'::regnamespace"
        wanted = run.arena.database.value(same)
        run.demand(database.value(same) == wanted, "durable", "the schema after the second migrate is another one")
    finally:
        database.drop()
    run.clear(repeats=False)
