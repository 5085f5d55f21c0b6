"""Faults of Apache Kafka and of what stands in its topics."""

import json
import os
import signal
import time
import uuid

import psycopg2
from confluent_kafka import Producer
from confluent_kafka.admin import ConfigResource, NewPartitions

from fault.arena import memory, wait_until
from fault.points import lose_messages, opened, wait_for_dispatches
from fault.run import fault
from fault.wire import delete_records


@fault("broker-kill", "kill -9 the broker and start it again", "broker", quick=True, seeds=2)
def broker_kill(run):
    with run.during():
        run.arena.kafka.kill()
        run.hit()
        run.arena.kafka.start()
    run.flow(20)


@fault("broker-restart", "stop the broker in order and start it again", "broker", seeds=2)
def broker_restart(run):
    for _ in range(2):
        with run.during():
            run.arena.kafka.stop()
            run.hit()
            run.arena.kafka.start()
        run.flow(20)


# Four workers, so that their slots are not what the operations of that minute wait for.
@fault("broker-away", "the broker is away for a minute: submits are still accepted, and then all of it runs", "broker", seeds=1, workers=4, settle=150)
def broker_away(run):
    acks = lambda: sum(line["what"] == "ack" for line in run.lines())
    with run.during():
        run.arena.kafka.kill()
        run.hit()
        before = acks()
        time.sleep(60)
        taken = acks() - before
        run.arena.kafka.start()
    run.note(f"{taken} submits acknowledged meanwhile")
    run.demand(taken > 60 * run.fault.load * 0.5, "durable", f"only {taken} submits were accepted in 60 s without a broker")


@fault("broker-frozen", "the broker is frozen (SIGSTOP) for 15 s: connections stay and nobody answers", "broker", seeds=2)
def broker_frozen(run):
    pid = int((run.arena.kafka.directory / "pid").read_text())
    with run.during():
        os.kill(pid, signal.SIGSTOP)
        run.hit()
        time.sleep(15)
        os.kill(pid, signal.SIGCONT)
    run.flow(20)


@fault("messages-lost", "dispatches that will never be read: offsets beyond them are committed while no worker is there", "broker", quick=True, seeds=2)
def messages_lost(run):
    ids = lose_messages(run)
    run.hit(len(ids))
    wait_until(lambda: run.arena.statuses(ids)["SUCCESS"] == len(ids), 60, "the lost ones to be found")


@fault("records-deleted", "the records of the task topic are deleted before they are read (retention): found by the log's start", "broker", seeds=1, settle=180)
def records_deleted(run):
    arena = run.arena
    for worker in list(arena.workers):
        arena.leave(worker)
    begin = time.time()
    ids = run.submit_many([([arena.work(), arena.work()], {}) for _ in range(10)])
    wait_for_dispatches(run, ids)
    ends = arena.kafka.ends(arena.topic("tasks"))
    codes = delete_records(int(arena.kafka.brokers.split(":")[1]), arena.topic("tasks"), {n: -1 for n in range(len(ends))})
    run.demand(not any(codes), "run", f"could not delete the records: {codes}")
    run.hit(len(ids))
    arena.worker()
    arena.worker()
    run.clear(begin)
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 150, "the lost ones to be found")


@fault("tasks-topic-deleted", "the task topic is deleted and made again, with a backlog in it", "broker", seeds=1, fresh=True, settle=240)
def tasks_topic_deleted(run):
    recreate(run, "tasks", 12)


@fault("results-topic-deleted", "the result topic is deleted and made again", "broker", seeds=1, fresh=True, settle=240)
def results_topic_deleted(run):
    recreate(run, "results", 4)


def recreate(run, name, partitions):
    kafka, topic = run.arena.kafka, run.arena.topic(name)
    with run.during():
        admin = kafka.admin()  # lives until it is answered
        for future in admin.delete_topics([topic], operation_timeout=10).values():
            future.result()
        wait_until(lambda: kafka.partitions(topic) == 0, 20, "the topic to be gone")
        run.hit()
        time.sleep(3)
        if kafka.partitions(topic) == 0:
            kafka.create(topic, partitions)
    run.windows[-1] = (run.windows[-1][0], time.time() + 200)


@fault("too-large-for-broker", "the broker takes smaller messages than kser allows: such a task ends FAILED, the others go on", "broker", seeds=1, fresh=True)
def too_large(run):
    kafka, topic = run.arena.kafka, run.arena.topic("tasks")
    change, limit = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"max.message.bytes": "20000"}), ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = kafka.admin()
    for future in admin.alter_configs([change]).values():
        future.result()
    wait_until(lambda: admin.describe_configs([limit])[limit].result()["max.message.bytes"].value == "20000", 30, "the broker to know its limit")
    with run.during(repeats=False):
        large = {"entrypoint": "ledger.work", "params": {"ledger": str(run.arena.executions), "ms": 0, "ballast": "x" * 100000}}
        first = [run.submit(large, expected="FAILED") for _ in range(3)]
        second = [run.submit(run.arena.work(), large, expected="FAILED") for _ in range(3)]
        wait_until(lambda: run.arena.statuses(first + second)["FAILED"] == 6, 60, "the large ones to fail")
        run.hit(6)
    errors = run.arena.database.query("select distinct error from kser.operations where id = any (%s::uuid[])", first + second)
    run.note(f"errors: {errors}")


@fault("too-large-at-submit", "a submission beyond a megabyte is refused before anything is written", "broker", seeds=1)
def too_large_at_submit(run):
    before = run.arena.ask("select count(*) from kser.operations where name = 'huge'")
    for size in (1 << 20, 3 << 20):
        task = {"entrypoint": "ledger.work", "params": {"ledger": "x", "ballast": "x" * size}}
        try:
            run.arena.database.query("select kser.submit('huge', %s::jsonb)", json.dumps([task]))
        except psycopg2.Error as reason:
            run.hit()
            run.note(str(reason).splitlines()[0][:100])
    run.demand(run.hits == 2, "bounded", f"{2 - run.hits} submissions beyond a megabyte were taken")
    run.demand(run.arena.ask("select count(*) from kser.operations where name = 'huge'") == before, "no phantom", "a refused submission left a row")
    run.clear(repeats=False)


@fault("queue-full", "the producers' queues take ten messages only", "broker", seeds=1)
def queue_full(run):
    arena = run.arena
    for process in [*arena.orchestrators, *arena.workers]:
        arena.leave(process)
    arena.orchestrator("--kafka.queue.buffering.max.messages=10")
    wait_until(lambda: arena.kafka.partitions(arena.topic("tasks")), 30, "the topics")
    for _ in range(2):
        arena.worker("--kafka.queue.buffering.max.messages=10")
    arena.settle_fleet()
    ids = run.submit_many([([arena.work()] * 3, {}) for _ in range(500)])
    with run.during(repeats=False):
        run.hit()
        wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 90, "500 operations through small queues")
    for process in [*arena.orchestrators, *arena.workers]:
        arena.leave(process)


def values_of(run, name):
    return [record.value() for record in run.arena.kafka.read(run.arena.topic(name)) if record.value()]


def texts_of(run, name):
    """As values_of, opened where they are sealed."""
    return [opened(run, value) for value in values_of(run, name)]


@fault("replay", "the whole result topic (the last 5,000 records at most) is written again, shuffled, three times; no repeat is excused", "broker", quick=True, seeds=2)
def replay(run):
    run.flow(60)
    values = values_of(run, "results")[-5000:]
    with run.during(repeats=False):
        for _ in range(3):
            run.random.shuffle(values)
            run.arena.kafka.produce(run.arena.topic("results"), values)
            run.hit(len(values))


@fault("forged-results", "results for unknown, running, future and finished attempts, of other generations and uuids; nothing changes", "broker", quick=True, seeds=1)
def forged_results(run):
    arena = run.arena
    run.flow(40)
    ids = run.submit_many([([arena.work(4000), arena.work()], {}) for _ in range(6)])
    wait_until(lambda: arena.ask("select count(*) from kser.tasks where operation_id = any (%s::uuid[]) and status = 'RUNNING'", ids) == len(ids), 30, "tasks that run")
    running = [value for value in texts_of(run, "tasks") if any(id in value.decode() for id in ids)]
    forged = [false for value in texts_of(run, "results")[-800:] for false in forgeries(value, ({}, *LIES))]
    forged += [false for value in running for false in forgeries(value, LIES)]
    run.random.shuffle(forged)
    with run.during(repeats=False):
        arena.write("results", forged)
        run.hit(len(forged))
        run.flow(30)
    seen = arena.database.value("select count(*) from kser.tasks where stdout = 'forged' or retval ->> 'nonce' = 'forged'")
    run.demand(seen == 0, "fenced", f"{seen} tasks hold a forged result")


# What is changed in a stamp, as functions of it.
LIES = ({"attempt": lambda stamp: stamp["attempt"] + 1}, {"attempt": lambda stamp: stamp["attempt"] - 1}, {"attempt": lambda stamp: 10 ** 9},
        {"gen": lambda stamp: stamp["gen"] ^ 1}, {"op": lambda stamp: str(uuid.uuid4())}, {"pos": lambda stamp: stamp["pos"] + 1})


def forgeries(value, lies):
    """False results made from a dispatch or a result."""
    message = json.loads(value)
    stamp = message["metadata"].get("kser", {})
    if stamp.get("kind", "result") != "result" or "op" not in stamp:
        return []
    message["result"] = {"uuid": str(uuid.uuid4()), "retcode": 0, "stdout": "forged", "stderr": "", "retval": {"nonce": "forged"}}
    return [json.dumps({**message, "metadata": {**message["metadata"], "kser": {**stamp, "kind": "result", "worker": "forger", **{key: lie(stamp) for key, lie in one.items()}}}})
            for one in lies]


PAIRS = 2000


@fault("pairs", f"two orchestrators get the same {PAIRS} results at the same time, each in two partitions", "broker", quick=True, seeds=1, settle=120)
def pairs(run):
    answer_by_hand(run, 500)


@fault("pairs-10000", "the same with 10,000 results", "broker", seeds=1, settle=240)
def pairs_10000(run):
    answer_by_hand(run, 2500)


def answer_by_hand(run, operations):
    """Operations of a queue without workers: the suite answers their tasks itself, each result twice, in partitions of different lanes. Each
    must be applied once: the successor is dispatched once."""
    arena = run.arena
    queue = f"hand{run.seed}x{operations}"
    topic = f"{arena.topic('tasks')}.{queue}"
    tasks = [{"entrypoint": "by.hand", "params": {}}] * 4
    # More than a window would hold back the rest until places are free, which they become.
    ids = run.submit_many([(tasks, {"queue": queue}) for _ in range(operations)], name="by-hand")
    wait_until(lambda: arena.kafka.partitions(topic), 30, f"the topic {topic}")
    results, seen, dispatched = arena.topic("results"), {}, {}
    partitions = arena.kafka.partitions(results)
    with run.during(repeats=False), open(arena.executions, "a") as ledger:
        limit = time.monotonic() + 200
        while arena.statuses(ids)["SUCCESS"] < len(ids) and time.monotonic() < limit:
            values = [(reply(record.value(), ledger), record) for record in arena.kafka.read_from(topic, seen)]
            ledger.flush()
            half = run.random.randrange(partitions)
            for partition in (half, (half + partitions // 2) % partitions):
                arena.kafka.produce(results, [value for value, _ in values], partition)
            run.hit(len(values))
            for _, record in values:
                identity = task_of(record.value())
                dispatched[identity] = dispatched.get(identity, 0) + 1
    twice = [identity for identity, count in dispatched.items() if count > 1]
    run.demand(not twice, "one launch", f"{len(twice)} tasks were dispatched more than once", twice[:5])
    run.demand(arena.statuses(ids)["SUCCESS"] == len(ids), "no stuck", f"{arena.statuses(ids)}")


def task_of(value):
    message = json.loads(value)
    return message["uuid"], message["metadata"]["kser"]["attempt"]


def reply(value, ledger):
    """The answer to a dispatch, entered in the workers' ledger as an execution of this process."""
    message = json.loads(value)
    stamp = message["metadata"]["kser"]
    nonce, now, clock = uuid.uuid4().hex, time.time_ns(), time.monotonic_ns()
    for what in "SE":
        ledger.write(f"{what} {stamp['op']} {message['uuid']} {stamp['attempt']} {os.getpid()} {now} {clock} {nonce}\n")
    message["result"] = {"uuid": str(uuid.uuid4()), "retcode": 0, "stdout": "", "stderr": "", "retval": {"nonce": nonce}}
    stamp.update(kind="result", worker="by-hand")
    return json.dumps(message)


@fault("membership", "workers join and leave every 2 s; no repeat is excused", "broker", quick=True, seeds=2)
def membership(run):
    end = time.monotonic() + 40
    extra = []
    with run.during(repeats=False):
        while time.monotonic() < end:
            if len(extra) < 2:
                extra.append(run.arena.worker())
            else:
                extra[0].terminate()
                run.arena.forget(extra.pop(0))
            run.hit()
            run.sleep(2)


@fault("longer-than-poll", "tasks that run longer than max.poll.interval.ms (and session time-out), 7 and 15 s", "broker", seeds=1)
def longer_than_poll(run):
    arena = run.arena
    for worker in list(arena.workers):
        arena.leave(worker)
    for _ in range(2):
        arena.worker("--kafka.max.poll.interval.ms=6000")
    arena.settle_fleet()
    ids = [run.submit(arena.work(run.random.choice((7000, 15000))), arena.work()) for _ in range(6)]
    run.hit(len(ids))
    wait_until(lambda: arena.statuses(ids)["SUCCESS"] == len(ids), 90, "the long tasks")
    run.clear(repeats=False)


MILLION = 1000000


@fault("million-waiting", "a million results wait when the orchestrators come; memory stays bounded", "broker", seeds=1, fresh=True, settle=400)
def million_waiting(run):
    backlog(run, MILLION)


@fault("results-waiting", "50,000 results wait when the orchestrators come; memory stays bounded", "broker", quick=True, seeds=1, settle=200)
def results_waiting(run):
    backlog(run, 50000)


def backlog(run, count):
    """Late results of finished tasks and among them the true ones of the load."""
    arena = run.arena
    run.flow(20)
    values = [value for value in values_of(run, "results") if json.loads(value)["metadata"].get("kser", {}).get("op")]
    for process in list(arena.orchestrators):
        arena.leave(process)
    begin = time.time()
    producer = Producer({"bootstrap.servers": arena.kafka.brokers, "log_level": 0, "linger.ms": 50, "queue.buffering.max.messages": 200000})
    for number in range(count):
        while True:
            try:
                producer.produce(arena.topic("results"), values[number % len(values)])
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    run.hit(count)
    arena.fleet()
    # The tasks that wait behind the backlog have waited since then; their own results come last.
    peak, counted = 0, "select coalesce(sum(value), 0) from kser.counters where name in ('replies_late', 'replies_stale', 'replies_unknown')"
    limit = time.monotonic() + 300
    started = time.monotonic()
    while (arena.ask(counted) or 0) < count and time.monotonic() < limit:
        peak = max(peak, *(memory(process.pid) for process in arena.orchestrators))
        time.sleep(0.2)
    run.clear(begin, repeats=True)
    run.note(f"{peak} MB at most, {time.monotonic() - started:.0f} s until all were counted")
    run.demand((arena.ask(counted) or 0) >= count, "no stuck", "the backlog was not worked off in 300 s")
    run.demand(peak < 200, "bounded", f"an orchestrator took {peak} MB")


@fault("poison", "bytes that nobody can use between good records of all topics", "broker", quick=True, seeds=1)
def poison(run):
    kafka = run.arena.kafka
    junk = [b"", b"\x00", b"{", b"[]", b"{}", b'{"uuid": "\xe9"}', b'{"uuid": "' + b"x" * 1000000, b"[" * 100000, b'{"uuid": "a", "entrypoint": "echo", "metadata": {"kser": {"op": 1}}}']
    before = run.arena.ask("select count(*) from kser.dead_letters")
    wanted = 0
    with run.during(repeats=False):
        for name in ("tasks", "results", "operations"):
            topic = run.arena.topic(name)
            for partition in range(kafka.partitions(topic)):
                kafka.produce(topic, junk, partition)
                wanted += len(junk)
        run.hit(wanted)
        run.flow(30)
    count = lambda: run.arena.ask("select count(*) from kser.dead_letters") - before
    try:
        wait_until(lambda: count() >= wanted, 30, "the dead letters")
    except AssertionError:
        pass
    run.demand(count() == wanted, "no phantom", f"{count()} dead letters of {wanted} records that cannot be used")


@fault("partitions-added", "partitions are added to the task and result topics under load", "broker", seeds=1, fresh=True)
def partitions_added(run):
    admin = run.arena.kafka.admin()
    with run.during(repeats=False):
        for name, more in (("tasks", 18), ("results", 8)):
            for future in admin.create_partitions([NewPartitions(run.arena.topic(name), more)]).values():
                future.result()
            run.hit()
        # Clients look at the topics every ten seconds.
        wait_until(lambda: any(run.arena.kafka.ends(run.arena.topic("tasks"))[12:]), 60, "a new partition to be used")
    run.flow(100)
    used = [n for n, end in enumerate(run.arena.kafka.ends(run.arena.topic("tasks"))) if end]
    run.note(f"task partitions in use: {len(used)} of 18")
