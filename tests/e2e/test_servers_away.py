"""Broker and database that are not there, yet or for a while."""

import re
import signal

import pytest

from support.waiting import stays, wait_until


def complains(process):
    return lambda: process.running and re.search(r"could not|waiting", process.text())


# The worker comes first: it waits for topics that only the orchestrator makes.
def test_topics_are_created_at_start(cell, kafka, ledger):
    worker = cell.worker()
    stays(lambda: worker.running, 2, "a worker without topics waits")
    assert kafka.partitions(cell.topic("tasks")) == 0
    cell.orchestrator()
    id = cell.submit(ledger.note())
    assert cell.wait(id)["SUCCESS"] == 1
    assert {name: kafka.partitions(cell.topic(name)) for name in ("tasks", "results", "operations", "control")} == \
        {"tasks": 12, "results": 4, "operations": 1, "control": 1}


def test_a_topic_that_exists_is_left_as_it_is(cell, kafka, ledger):
    kafka.create(cell.topic("tasks"), 3)
    cell.start()
    id = cell.submit(ledger.note(), ledger.note())
    assert cell.wait(id)["SUCCESS"] == 1
    assert kafka.partitions(cell.topic("tasks")) == 3


@pytest.mark.timeout(120)
def test_broker_away_at_start(cell, kafka, ledger):
    kafka.stop()
    processes = [cell.orchestrator(), cell.worker()]
    for process in processes:
        wait_until(complains(process), 30, f"{process.name} to say that the broker is away")
    kafka.start()
    id = cell.submit(ledger.note(), ledger.note())
    assert cell.wait(id)["SUCCESS"] == 1
    cell.check_each_once([id], 2)


@pytest.mark.timeout(120)
def test_database_away_at_start(cell, postgres, ledger):
    postgres.stop()
    orchestrator = cell.orchestrator()
    worker = cell.worker()
    wait_until(complains(orchestrator), 30, "the orchestrator to say that the database is away")
    postgres.start()
    id = cell.submit(ledger.note(), ledger.note())
    assert cell.wait(id)["SUCCESS"] == 1
    assert worker.running
    cell.check_each_once([id], 2)


# Results arrive while the database is away: they wait in Kafka and are applied when it is back.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["shutdown", "crash"])
def test_database_away_for_a_while(cell, postgres, ledger, number):
    (orchestrator,), _ = cell.start()
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.hold(), ledger.note(), ledger.note()]} for _ in range(6)])
    wait_until(lambda: len(ledger.lines()) == 6, 30, "all tasks to be held")
    postgres.stop(number)
    ledger.open()
    wait_until(complains(orchestrator), 30, "the orchestrator to say that the database is away")
    postgres.start()
    assert cell.wait(ids)["SUCCESS"] == 6
    cell.check_each_once(ids, 3)


@pytest.mark.timeout(180)
def test_database_restarts_under_load(cell, postgres, ledger):
    cell.start(orchestrators=2, workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 30} for _ in range(100)])
    for goal in (300, 1000, 2000):
        wait_until(lambda: len(ledger.lines()) > goal, 60, f"{goal} executions", pause=0.01)
        postgres.crash()
        postgres.start()
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    executions = ledger.executions()
    assert not [(id, position) for id in ids for position in range(30) if executions[id, position] < 1]


# A worker may be out of its group for longer than its session while the broker is away; then what it did since its last commit
# may run once more. Nothing is lost.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_restarts_under_load(cell, kafka, ledger, how):
    processes = cell.start(orchestrators=2, workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 30} for _ in range(100)])
    for goal in (300, 1500):
        wait_until(lambda: len(ledger.lines()) > goal, 60, f"{goal} executions", pause=0.01)
        getattr(kafka, how)()
        kafka.start()
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    executions = ledger.executions()
    assert not [(id, position) for id in ids for position in range(30) if executions[id, position] < 1]
    assert all(process.running for group in processes for process in group)
    assert cell.database.value("select max(attempt) from kser.tasks") == 1


# A client that the group has forgotten, or that waits for an answer which never comes, is replaced by a new one.
@pytest.mark.timeout(180)
def test_a_lane_without_assignment_joins_anew(cell, kafka, ledger):
    orchestrator = cell.orchestrator("--rejoin-after", "1s")
    cell.worker()
    cell.wait_for_orchestrators(1)
    cell.wait_for_workers(1)
    kafka.kill()
    wait_until(lambda: "joining it anew" in orchestrator.text(), 30, "a lane to join anew")
    kafka.start()
    ids = [cell.submit(ledger.note(), ledger.note()) for _ in range(5)]
    assert cell.wait(ids)["SUCCESS"] == 5
    cell.check_each_once(ids, 2)


# Nobody hangs on the way out because a server is not there.
@pytest.mark.timeout(120)
def test_programs_leave_while_the_broker_is_away(cell, kafka):
    (orchestrator,), (worker,) = cell.start()
    kafka.kill()
    for process in (orchestrator, worker):
        process.terminate()
    for process in (orchestrator, worker):
        process.wait(20)


@pytest.mark.timeout(120)
def test_an_orchestrator_leaves_while_the_database_is_away(cell, postgres):
    (orchestrator,), _ = cell.start()
    postgres.stop()
    orchestrator.terminate()
    orchestrator.wait(20)
