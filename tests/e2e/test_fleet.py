"""Several orchestrators and workers at once: each task is executed exactly once while nothing fails."""

import pytest

from support.waiting import wait_until


def check_order(ledger, ids):
    """No task was started before the first start of the one before it."""
    last = {}
    for operation, position, _, _ in ledger.lines():
        if operation in ids:
            assert position <= last.get(operation, -1) + 1, f"{operation}: {position} came after {last.get(operation)}"
            last[operation] = max(position, last.get(operation, -1))


def check_quiet(cell):
    """No reply was lost, late or unusable."""
    # A claim that a worker makes when it loses a partition may come behind the result of the same task.
    assert cell.database.query("select * from kser.counters where value > 0 and name <> 'claims_refused'") == []
    assert cell.database.value("select count(*) from kser.dead_letters") == 0
    assert cell.database.value("select count(*) from kser.ready") == 0


@pytest.mark.timeout(180)
def test_two_orchestrators_three_workers_thousand_operations(cell, ledger):
    cell.start(orchestrators=2, workers=3)
    ids = cell.submit_many([{"name": f"n{n}", "tasks": [ledger.note()] * 3} for n in range(1000)])
    assert cell.wait(ids, 120)["SUCCESS"] == 1000
    cell.check_each_once(ids, 3)
    check_order(ledger, set(ids))
    check_quiet(cell)
    assert len({pid for _, _, _, pid in ledger.lines()}) > 1, "one worker did everything"


# A rebalance in the middle of work: whoever loses a partition has to report and commit what it did before somebody else
# reads on from there, else the tasks in between run twice.
@pytest.mark.timeout(180)
def test_workers_join_and_leave(cell, ledger):
    _, workers = cell.start(orchestrators=2, workers=2)
    ids = []

    def submit_until(condition, what):
        def more():
            ids.extend(cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 3} for _ in range(100)]))
            return condition()
        wait_until(more, 60, what, pause=0.2)

    submit_until(lambda: len(ledger.lines()) > 300, "some executions")
    newcomer = cell.worker()
    submit_until(lambda: newcomer.pid in {line[3] for line in ledger.lines()}, "the newcomer's first task")
    workers[0].terminate()
    submit_until(lambda: not workers[0].running, "a worker to leave")
    assert workers[0].returncode == 0
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    cell.check_each_once(ids, 3)
    check_order(ledger, set(ids))
    check_quiet(cell)


@pytest.mark.timeout(180)
def test_an_orchestrator_leaves(cell, ledger):
    orchestrators, _ = cell.start(orchestrators=2, workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 20} for _ in range(200)])
    wait_until(lambda: len(ledger.lines()) > 500, 60, "some executions", pause=0.01)
    assert orchestrators[0].stop() == 0
    assert cell.database.value("select count(*) from kser.instances") == 1, "it takes its row along"
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    cell.check_each_once(ids, 20)
    check_order(ledger, set(ids))
    check_quiet(cell)


# All leave and come back while operations are on their way: what waits in Kafka and in the database goes on.
@pytest.mark.timeout(180)
def test_everybody_restarts(cell, ledger):
    orchestrators, workers = cell.start(orchestrators=1, workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 20} for _ in range(200)])
    wait_until(lambda: len(ledger.lines()) > 500, 60, "some executions", pause=0.01)
    for process in orchestrators + workers:
        process.terminate()
    assert [process.wait() for process in orchestrators + workers] == [0, 0, 0]
    cell.orchestrator()
    cell.worker()
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    cell.check_each_once(ids, 20)
    check_order(ledger, set(ids))
