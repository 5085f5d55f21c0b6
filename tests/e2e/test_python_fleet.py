"""kser workers in Python, with the adapter of clients/python, under the orchestrator and beside C workers. Both Kafka clients
at a time, each in a queue of its own; all tests share one cell, so that one test's workers serve the next."""

import pytest

from support.cell import Ledger
from support.python_workers import FLAVOURS, PythonWorkers
from support.waiting import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("python fleet")]


@pytest.fixture(scope="module")
def workers(shared_cell):
    """One worker in Python for each of the queues, and one in C of the default one."""
    shared_cell.start(workers=1)
    workers = PythonWorkers(shared_cell)
    first = shared_cell.submit_many([{"name": "jobs.Hello", "params": {"name": "first"}, "queue": flavour} for flavour in FLAVOURS])  # makes the topics
    workers.want(1)
    assert shared_cell.wait(first)["SUCCESS"] == len(FLAVOURS)
    return workers


@pytest.fixture
def cell(request, workers, shared_cell, tmp_path):
    """The shared cell, with this test's ledger; it loses nothing, whatever a test does."""
    shared_cell.ledger = Ledger(tmp_path)
    yield shared_cell
    if getattr(request.node, "failed", False):
        for process in shared_cell.processes.started:
            print(f"--- {process.name}, exit code {process.returncode}, {process.log}\n{process.tail()}")
    assert shared_cell.database.value("select count(*) from kser.ready") == 0
    assert shared_cell.database.query("select topic, reason from kser.dead_letters ") == []


def in_queue(flavour, task):
    return {**task, "queue": flavour}


def in_both(cell, task, count=1):
    """The task as an operation of its own, `count` times in each flavour's queue."""
    return cell.submit_many([{"name": "test", "tasks": [in_queue(flavour, task)]} for flavour in FLAVOURS for _ in range(count)])


def stdouts(cell, id):
    return [row[0] for row in cell.database.query("select stdout from kser.tasks where operation_id = %s order by position", id)]


def starts(cell, ids):
    """How often each operation of one task was started."""
    return [cell.ledger.executions()[id, 0] for id in ids]


def held(cell):
    """An operation for each flavour whose task runs, is claimed and has been passed."""
    ids = in_both(cell, cell.ledger.hold())
    wait_until(lambda: cell.database.value("select count(*) from kser.claims where operation_id = any (%s::uuid[])", ids) == 2, 30, "their claims")
    return ids


def uncommitted(cell, flavour):
    topic = cell.topic(f"tasks.{flavour}")
    committed = cell.kafka.committed(topic, f"{cell.prefix}.workers.{flavour}")
    return sum(cell.kafka.ends(topic)) - sum(offset for offset in committed if offset > 0)


def test_c_and_python_in_one_operation(cell, workers):
    kafka, confluent = FLAVOURS
    ids = cell.submit_many([{"name": "mixed", "tasks": [
        {"entrypoint": "echo", "params": {"text": "from C"}},
        in_queue(kafka, cell.ledger.note()),
        in_queue(confluent, {"entrypoint": "jobs.Hello", "params": {"name": "Cedric"}}),
        cell.ledger.note(),
        in_queue(kafka, {"entrypoint": "jobs.Hello", "params": {"name": "C\u00e9dric"}}),
        in_queue(confluent, cell.ledger.note())]} for _ in range(10)])
    assert cell.wait(ids, 120)["SUCCESS"] == 10
    for id in ids:
        assert stdouts(cell, id)[:3] == ["from C\n", "noted by Python", "Hello Cedric !"]
        assert stdouts(cell, id)[4:] == ["Hello C\u00e9dric !", "noted by Python"]
    cell.check_each_once(ids, 0)
    assert set(cell.ledger.executions().values()) == {1}
    for flavour in FLAVOURS:
        wait_until(lambda: uncommitted(cell, flavour) == 0, 30, "all commits")
        marks = workers.run("python_client.py", "marks", cell.topic(f"tasks.{flavour}"), f"{cell.prefix}.workers.{flavour}")
        assert {mark.rstrip("\0") for _, mark in marks} == {"kser1"}  # confluent-kafka sends the end of the C string along
        slots, entrypoints = cell.database.query("select slots, entrypoints from kser.workers where queue = %s", flavour)[0]
        assert slots == 1 and "jobs.Hello" in entrypoints


# All kinds in one group: their clients have to agree on how partitions are shared.
def test_c_and_python_in_one_queue(cell, workers):
    python = [workers.start(flavour, queue="") for flavour in FLAVOURS]
    workers.wait_for_members(3)
    ids = cell.submit_many([{"name": f"n{n}", "tasks": [cell.ledger.note()] * 2} for n in range(60)])
    assert cell.wait(ids, 120)["SUCCESS"] == 60
    cell.check_each_once(ids, 2)
    assert {worker.pid for worker in python} < {pid for _, _, _, pid in cell.ledger.lines()}
    assert [worker.stop() for worker in python] == [0, 0]
    workers.wait_for_members(1)


# Seen with kafka-python on a broker that was just started: polled for two minutes, it was never given its partitions.
def test_a_worker_that_hears_nothing_of_its_group(cell, workers):
    deaf = {flavour: workers.start(flavour, queue=f"deaf-{flavour}", DEAF_AT_FIRST="1") for flavour in FLAVOURS}
    ids = cell.submit_many([{"name": "test", "tasks": [{**cell.ledger.note(), "queue": f"deaf-{flavour}"}]} for flavour in FLAVOURS])
    assert cell.wait(ids)["SUCCESS"] == 2
    assert starts(cell, ids) == [1, 1]
    for flavour in FLAVOURS:
        assert "Consumer.Rejoining" in deaf[flavour].text() and deaf[flavour].stop() == 0


def test_what_a_fleet_answers(cell):
    """Operations of the fleet's own classes, which it plans; failures; records that nobody can use."""
    planned = cell.submit_many([{"name": "jobs.Yahtzee", "queue": flavour} for flavour in FLAVOURS])
    wrong = cell.submit_many([{"name": name, "queue": flavour} for flavour in FLAVOURS for name in ("jobs.Hello", "jobs.Unknown")])
    for flavour in FLAVOURS:
        cell.kafka.produce(cell.topic(f"tasks.{flavour}"), [b"\xff\xfe", b"{}"])
    assert cell.wait(planned)["SUCCESS"] == 2 and cell.wait(wrong)["FAILED"] == 4
    for id in planned:
        entrypoints = [row[0] for row in cell.database.query("select entrypoint from kser.tasks where operation_id = %s order by position", id)]
        assert entrypoints == ["jobs.Yahtzee"] + (["__main__.DiceLaunch"] + ["__main__.DiceRoll"] * 3) * 3
        assert [text for text in stdouts(cell, id) if text] == ["You made a 1", "You made a 2", "You made a 3"] * 3
    assert {cell.tasks(id)[0][3] for id in wrong} == {400}
    for flavour in FLAVOURS:
        words = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(cell.database.query(
            "select encode(bytes, 'escape'), reason from kser.dead_letters where topic = %s", cell.topic(f"tasks.{flavour}"))), 30, "two dead letters")
        reasons = dict(words)
        assert "Failed to load message" in reasons.pop("{}") and "utf-8" in reasons.popitem()[1]
    cell.database.query("delete from kser.dead_letters returning 1")


# The library's producer example, as it is: a message with an entrypoint and no tasks.
def test_a_bare_message_of_the_library(cell, workers):
    sent = [workers.run("python_client.py", "send", cell.topic("operations"), *what) for what in (
        ("echo", '{"text": "C\u00e9dric"}'),
        ("jobs.Hello", '{"name": "C\u00e9dric"}', '{"kser": {"queue": "python_kafka"}, "ticket": 7}'),
        ("jobs.Yahtzee", "{}", '{"kser": {"queue": "confluent"}}'),
        ("jobs.Yahtzee", "{}", '{"kser": {"queue": "dice"}}'))]
    assert all(result["retcode"] == 0 and " sent in " in result["stdout"] for result in sent)
    ids = wait_until(lambda: (lambda found: found if len(found) == 4 else None)([row[0] for row in cell.database.query(
        "select operation_id::text from kser.keys join unnest(%s) with ordinality as sent(uuid, nth) on key like '%%' || uuid order by nth",
        [result["uuid"] for result in sent])]), 30, "four operations")
    wait_until(lambda: cell.kafka.partitions(cell.topic("tasks.dice")), 30, "the topic of the queue")
    cell.processes.start("dice-worker", "--queue", "dice", environment=workers.environment())
    assert cell.wait(ids)["SUCCESS"] == 4
    assert stdouts(cell, ids[0]) == ["C\u00e9dric\n"] and stdouts(cell, ids[1]) == ["Hello C\u00e9dric !"]
    assert len(cell.tasks(ids[2])) == 13 and len(cell.tasks(ids[3])) == 10, "in Python operations in an operation stand in the list as well"


# What waits behind it and is cancelled meanwhile, on its way or in the broker, is dropped when the worker comes to it.
def test_a_long_task(cell, workers):
    ids = held(cell)
    first = cell.database.value("select max(renewed_at) from kser.claims where operation_id = any (%s::uuid[])", ids)
    waiting = in_both(cell, cell.ledger.note())
    wait_until(lambda: [cell.tasks(id)[0][1] for id in waiting] == ["RUNNING"] * 2, 30, "their dispatch")
    for id in waiting:
        assert cell.database.value("select kser.cancel(%s::uuid, 'a change of mind')", id) == "asked"
    assert cell.wait(waiting)["FAILED"] == 2
    wait_until(lambda: cell.database.value("select bool_and(renewed_at > %s + interval '3 seconds') from kser.claims where operation_id = any (%s::uuid[])",
                                           first, ids), 30, "renewals")
    cell.ledger.open()
    assert cell.wait(ids)["SUCCESS"] == 2
    assert cell.wait(in_both(cell, cell.ledger.note()))["SUCCESS"] == 2
    assert starts(cell, ids) == [1, 1] and starts(cell, waiting) == [0, 0]
    assert cell.database.value("select count(*) from kser.claims") == 0


# A worker joins while the other one runs a long task: the group does not wait for the task, and nobody runs it again. Then it is
# asked to leave, with the task in hand: it ends that first.
def test_a_rebalance_during_a_long_task_and_leaving(cell, workers):
    leaving = [workers.running[flavour][0] for flavour in FLAVOURS]
    ids = held(cell)
    workers.want(2)
    for worker in leaving:
        worker.terminate()
    more = in_both(cell, cell.ledger.note(), 5)
    cell.ledger.open()
    assert cell.wait(ids)["SUCCESS"] == 2
    assert [worker.wait() for worker in leaving] == [0, 0]
    assert cell.wait(more)["SUCCESS"] == 10
    assert starts(cell, ids) == [1, 1] and starts(cell, more) == [1] * 10
    wait_until(lambda: cell.database.value("select count(*) from kser.workers where queue = any (%s) and left_at is not null", list(FLAVOURS)) == 2, 30,
               "their last heartbeats")


# Both workers of a queue have work, one of them a claimed task; that one is killed. Its task runs elsewhere, and what waited
# behind it in its partitions is not lost.
def test_a_killed_worker_loses_nothing(cell, workers):
    workers.want(2)
    ids = held(cell)
    for flavour in FLAVOURS:
        wait_until(lambda: uncommitted(cell, flavour) == 0, 30, "the commit of what is claimed")
    pids = {pid for _, _, _, pid in cell.ledger.lines()}
    more = in_both(cell, cell.ledger.note(), 30)
    for worker in [worker for flavour in FLAVOURS for worker in workers.running[flavour] if worker.pid in pids]:
        worker.kill()
    wait_until(lambda: starts(cell, ids) == [2, 2], 60, "their second starts")
    cell.ledger.open()
    assert cell.wait(ids + more, 120)["SUCCESS"] == 62
    assert [cell.tasks(id) for id in ids] == [[(0, "SUCCESS", 2, 0)]] * 2
    assert starts(cell, more) == [1] * 60, "only what was in hand was repeated"


# The broker is killed in the middle of it and comes back: clients, groups and what was on its way.
def test_a_broker_that_restarts(cell, workers):
    workers.want(1)
    ids = held(cell)
    more = in_both(cell, cell.ledger.note(), 20)
    cell.kafka.kill()
    cell.ledger.open()
    cell.kafka.start()
    assert cell.wait(ids + more, 120)["SUCCESS"] == 42
    assert cell.wait(in_both(cell, cell.ledger.note()), 60)["SUCCESS"] == 2
    assert all(worker.running for flavour in FLAVOURS for worker in workers.running[flavour])
