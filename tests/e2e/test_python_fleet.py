"""kser workers in Python, with the adapter of clients/python, under the orchestrator and beside C workers.

Needs a Python with kser, its crypto package and both Kafka clients, named by KSER_TEST_PYTHON (see clients/python/README.md);
skipped without."""

import json
import os
import subprocess
import uuid

import pytest

from support.waiting import wait_until

PYTHON = os.environ.get("KSER_TEST_PYTHON")
pytestmark = [pytest.mark.skipif(not PYTHON, reason="KSER_TEST_PYTHON is not set"), pytest.mark.timeout(180)]

FLEET = "tests/support/python_fleet.py"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(params=["python_kafka", "confluent"])
def flavour(request):
    return request.param


@pytest.fixture
def python_worker(cell, flavour):
    """python_worker(queue): a worker in Python that has its partitions."""
    def start(queue="py", *further, **environment):
        kept = {key: value for key, value in cell.environment.items() if key != "KSER_DATABASE_URL"}
        return cell.processes.start(PYTHON, FLEET, flavour, queue, *further, name=f"fleet-{len(cell.processes.started)}", environment={**kept, **environment})
    return start


def wait_for_members(cell, count, queue=""):
    group = f"{cell.prefix}.workers" + (f".{queue}" if queue else "")
    wait_until(lambda: cell.kafka.members(group) == count, 60, f"{count} members of {group}")


def start_queue(cell, python_worker, count=1):
    """An orchestrator that knows the queue `py`, and workers of it."""
    cell.start(workers=1)
    first = cell.submit({"entrypoint": "jobs.Hello", "params": {"name": "first"}, "queue": "py"})  # makes the queue's topic
    workers = [python_worker() for _ in range(count)]
    wait_for_members(cell, count, "py")
    assert cell.wait(first)["SUCCESS"] == 1
    return workers


def stdouts(cell, id):
    return [row[0] for row in cell.database.query("select stdout from kser.tasks where operation_id = %s order by position", id)]


def check_nothing_lost(cell):
    assert cell.database.query("select topic, reason from kser.dead_letters") == []
    assert cell.database.value("select count(*) from kser.ready") == 0


def committed_marks(cell, topic, group):
    """(offset, metadata) of each partition that has one; Debian's client does not tell metadata."""
    program = ("import sys, json, kafka\n"
               "brokers, topic, group, count = sys.argv[1:]\n"
               "consumer = kafka.KafkaConsumer(bootstrap_servers=brokers, group_id=group, enable_auto_commit=False)\n"
               "found = [consumer.committed(kafka.TopicPartition(topic, n), metadata=True) for n in range(int(count))]\n"
               "print(json.dumps([(entry.offset, entry.metadata) for entry in found if entry]))\n")
    done = subprocess.run([PYTHON, "-c", program, cell.kafka.brokers, topic, group, str(cell.kafka.partitions(topic))], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def test_c_and_python_in_one_operation(cell, ledger, python_worker):
    start_queue(cell, python_worker)
    python = {"queue": "py"}
    ids = cell.submit_many([{"name": "mixed", "tasks": [
        {"entrypoint": "echo", "params": {"text": "from C"}},
        {**ledger.note(), **python},
        {"entrypoint": "jobs.Hello", "params": {"name": "Cedric"}, **python},
        ledger.note(),
        {**ledger.note(), **python}]} for _ in range(20)])
    assert cell.wait(ids, 120)["SUCCESS"] == 20
    for id in ids:
        assert stdouts(cell, id)[:3] == ["from C\n", "noted by Python", "Hello Cedric !"]
    assert set(ledger.executions().values()) == {1}
    check_nothing_lost(cell)
    topic = f"{cell.prefix}.tasks.py"
    wait_until(lambda: sum(offset for offset, _ in committed_marks(cell, topic, f"{cell.prefix}.workers.py")) == 61, 30, "61 commits")
    # confluent-kafka sends the end of the C string along.
    assert {mark.rstrip("\0") for _, mark in committed_marks(cell, topic, f"{cell.prefix}.workers.py")} == {"kser1"}
    queue, slots, entrypoints = cell.database.query("select queue, slots, entrypoints from kser.workers where queue = 'py'")[0]
    assert slots == 1 and "jobs.Hello" in entrypoints


# Both kinds in one group: their clients have to agree on how partitions are shared.
def test_c_and_python_in_one_queue(cell, ledger, python_worker):
    cell.start(workers=2)
    fleet = [python_worker(""), python_worker("")]
    wait_for_members(cell, 4)
    ids = cell.submit_many([{"name": f"n{n}", "tasks": [ledger.note()] * 5} for n in range(60)])
    assert cell.wait(ids, 120)["SUCCESS"] == 60
    cell.check_each_once(ids, 5)
    assert {worker.pid for worker in fleet} & {pid for _, _, _, pid in ledger.lines()}
    check_nothing_lost(cell)


def test_an_operation_of_the_fleet_is_planned_by_it(cell, python_worker):
    start_queue(cell, python_worker)
    id = cell.submit_many([{"name": "jobs.Yahtzee", "queue": "py"}])[0]
    assert cell.wait(id)["SUCCESS"] == 1
    entrypoints = [row[0] for row in cell.database.query("select entrypoint from kser.tasks where operation_id = %s order by position", id)]
    assert entrypoints == ["jobs.Yahtzee"] + (["__main__.DiceLaunch"] + ["__main__.DiceRoll"] * 3) * 3
    assert [text for text in stdouts(cell, id) if text] == ["You made a 1", "You made a 2", "You made a 3"] * 3


def test_failures_of_the_fleet(cell, python_worker):
    start_queue(cell, python_worker)
    missing = cell.submit({"entrypoint": "jobs.Hello", "queue": "py"})
    unknown = cell.submit({"entrypoint": "jobs.Unknown", "queue": "py"})
    assert cell.wait([missing, unknown])["FAILED"] == 2
    assert cell.tasks(missing)[0][3] == 400 and cell.tasks(unknown)[0][3] == 400


def test_a_record_that_cannot_be_used(cell, python_worker):
    start_queue(cell, python_worker)
    cell.kafka.produce(f"{cell.prefix}.tasks.py", [b"\xff\xfe", b"{}"])
    rows = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(
        cell.database.query("select reason, encode(bytes, 'escape') from kser.dead_letters order by bytes")), 30, "two dead letters")
    assert "utf-8" in rows[1][0] and "Failed to load message" in rows[0][0] and rows[0][1] == "{}"


def claims(cell, topic):
    found = []
    for record in cell.kafka.read(topic):
        said = json.loads(record.value())["metadata"]["kser"]
        if said.get("kind") == "claim":
            found.append((said["worker"], [name["op"] for name in said["claims"]]))
    return found


# A worker joins while the other one runs a task that takes long: the group does not wait for the task, and nobody runs it again.
def test_a_rebalance_during_a_long_task(cell, ledger, python_worker):
    start_queue(cell, python_worker)
    id = cell.submit({**ledger.hold(), "queue": "py"})
    wait_until(ledger.lines, 30, "its start")
    wait_until(lambda: len([1 for _, names in claims(cell, f"{cell.prefix}.results") if names == [id]]) >= 2, 30, "claims of it")
    python_worker()
    wait_for_members(cell, 2, "py")
    ledger.open()
    assert cell.wait(id)["SUCCESS"] == 1
    assert ledger.executions() == {(id, 0): 1}
    more = cell.submit_many([{"name": "after", "tasks": [{**ledger.note(), "queue": "py"}]} for _ in range(40)])
    assert cell.wait(more)["SUCCESS"] == 40
    cell.check_each_once(more, 1)
    check_nothing_lost(cell)


def test_leaving_ends_the_task_first(cell, ledger, python_worker):
    worker, = start_queue(cell, python_worker)
    id = cell.submit({**ledger.hold(), "queue": "py"})
    wait_until(ledger.lines, 30, "its start")
    worker.terminate()
    ledger.open()
    assert worker.wait() == 0
    assert cell.wait(id)["SUCCESS"] == 1
    wait_until(lambda: cell.database.value("select count(*) from kser.workers where queue = 'py' and left_at is not null") == 1, 30, "its last heartbeat")


def test_a_killed_worker_loses_nothing(cell, ledger, python_worker):
    one, _ = start_queue(cell, python_worker, 2)
    ids = cell.submit_many([{"name": "n", "tasks": [{**ledger.note(), "queue": "py"}] * 3} for _ in range(50)])
    wait_until(lambda: len(ledger.lines()) > 30, 60, "some executions", pause=0.01)
    one.kill()
    assert cell.wait(ids, 120)["SUCCESS"] == 50
    assert len([count for count in ledger.executions().values() if count > 1]) <= 1, "at most the one in hand was repeated"
    check_nothing_lost(cell)


# Without an orchestrator, which does not seal yet: the program `kser` seals the task and opens the reply.
def test_sealed(cell, kafka, prefix, processes, python_worker):
    for topic in ("tasks.py", "results", "control"):
        kafka.create(f"{prefix}.{topic}")
    task = {"uuid": str(uuid.uuid4()), "entrypoint": "jobs.Hello", "params": {"name": "C\u00e9dric"},
            "metadata": {"kser": {"op": str(uuid.uuid4()), "pos": 0, "attempt": 1, "gen": 1, "epoch": 1}}}
    key = {"KSER_SECRETBOX_KEY": KEY}
    sealed = processes.run("kser", "message", "seal", "-", input=json.dumps(task), environment=key).stdout
    kafka.produce(f"{prefix}.tasks.py", [json.dumps(task), sealed])
    python_worker("py", "sealed", **key)

    def reports():
        opened = [processes.run("kser", "message", "open", "-", input=record.value().decode(), environment=key) for record in kafka.read(f"{prefix}.results")]
        assert all(done.returncode == 0 for done in opened), "everything is sealed"
        found = {message["metadata"]["kser"]["kind"]: message for message in map(json.loads, (done.stdout for done in opened))}
        return found if {"result", "dead", "heartbeat"} <= set(found) else None
    found = wait_until(reports, 60, "reports", pause=0.5)
    assert found["result"]["result"]["stdout"] == "Hello C\u00e9dric !"
    assert "'data': ['Missing data" in found["dead"]["metadata"]["kser"]["reason"], "what is not sealed is refused"
