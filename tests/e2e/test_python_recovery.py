"""What recovery promises, with workers in Python (see test_python_fleet.py)."""

import os

import pytest

from support.waiting import wait_until

PYTHON = os.environ.get("KSER_TEST_PYTHON")
pytestmark = [pytest.mark.skipif(not PYTHON, reason="KSER_TEST_PYTHON is not set"), pytest.mark.timeout(180)]

FLEET = "tests/support/python_fleet.py"


@pytest.fixture(params=["python_kafka", "confluent"])
def python_worker(request, cell):
    """python_worker(): one more worker of the queue `py`, in Python."""
    def start():
        kept = {key: value for key, value in cell.environment.items() if key != "KSER_DATABASE_URL"}
        return cell.processes.start(PYTHON, FLEET, request.param, "py", name=f"fleet-{len(cell.processes.started)}", environment=kept)
    cell.start(workers=1)
    first = cell.submit({"entrypoint": "jobs.Hello", "params": {"name": "first"}, "queue": "py"})  # makes the queue's topic
    start.first = start()
    assert cell.wait(first)["SUCCESS"] == 1
    return start


def held(cell, ledger):
    """An operation whose task runs and is claimed by a worker in Python."""
    id = cell.submit({**ledger.hold(), "queue": "py"})
    wait_until(ledger.lines, 30, "its start")
    wait_until(lambda: cell.database.value("select count(*) from kser.claims where operation_id = %s", id) == 1, 30, "its claim")
    return id


def test_a_long_task_stays_claimed(cell, ledger, python_worker):
    id = held(cell, ledger)
    first = cell.database.value("select renewed_at from kser.claims where operation_id = %s", id)
    wait_until(lambda: cell.database.value("select renewed_at > %s + interval '5 seconds' from kser.claims where operation_id = %s", first, id), 30, "renewals")
    ledger.open()
    assert cell.wait(id)["SUCCESS"] == 1
    assert ledger.executions() == {(id, 0): 1}
    assert cell.database.value("select count(*) from kser.claims") == 0


def test_a_killed_workers_long_task_runs_elsewhere(cell, ledger, python_worker):
    id = held(cell, ledger)
    committed = lambda: [offset for offset in cell.kafka.committed(f"{cell.prefix}.tasks.py", f"{cell.prefix}.workers.py") if offset > 0]
    wait_until(lambda: sum(committed()) == 2, 30, "the commit of what is claimed")
    python_worker.first.kill()
    python_worker()
    wait_until(lambda: len(ledger.lines()) == 2, 60, "its second start")
    ledger.open()
    assert cell.wait(id)["SUCCESS"] == 1
    assert cell.tasks(id) == [(0, "SUCCESS", 2, 0)]


# It waits behind one that runs, on its way or in the broker: the worker drops it when it comes to it, and says so.
def test_a_cancelled_task_that_waits_is_not_started(cell, ledger, python_worker):
    held(cell, ledger)
    id = cell.submit({**ledger.note(), "queue": "py"})
    wait_until(lambda: cell.tasks(id)[0][1] == "RUNNING", 30, "its dispatch")
    assert cell.database.value("select kser.cancel(%s::uuid, 'a change of mind')", id) == "asked"
    assert cell.wait(id)["FAILED"] == 1
    ledger.open()
    after = cell.submit({**ledger.note(), "queue": "py"})
    assert cell.wait(after)["SUCCESS"] == 1
    assert (id, 0) not in ledger.executions()
