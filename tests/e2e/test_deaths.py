"""Processes that are killed: nothing is lost, and only what the dead had in hand may run again. And what kills none."""

import os
import signal
from collections import Counter

import pytest

from support.waiting import wait_until


# The dead worker's tasks come again from Kafka, since it reported none of them. The other worker loses its partitions in the
# rebalance and gets them back with the same records, which it must recognize as already in hand.
@pytest.mark.timeout(120)
def test_worker_killed_in_the_middle_of_tasks(cell, ledger):
    _, workers = cell.start(workers=2)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.hold(), ledger.note()]} for _ in range(8)])
    wait_until(lambda: len(ledger.lines()) == 8, 30, "all tasks to be held")
    by_worker = Counter(pid for _, _, _, pid in ledger.lines())
    if len(by_worker) == 1:  # one burst to one partition: have the other worker hold some as well
        wait_until(lambda: spread(cell, ledger, ids), 60, "tasks on both workers")
    victim = next(worker for worker in workers if worker.pid in {line[3] for line in ledger.lines()})
    held = {line[0] for line in ledger.lines() if line[3] == victim.pid}
    victim.kill()
    again = lambda: {line[0] for line in ledger.lines() if line[1] == 0 and line[3] != victim.pid}
    wait_until(lambda: held <= again(), 30, "the dead worker's tasks to start elsewhere")
    ledger.open()
    assert cell.wait(ids)["SUCCESS"] == len(ids)
    executions = ledger.executions()
    assert all(executions[id, 0] == (2 if id in held else 1) for id in ids), (held, executions)
    assert all(executions[id, 1] == 1 for id in ids)
    # The same dispatch, delivered again; or the next attempt, where the dead worker had claimed it already.
    assert {str(id) for id, in cell.database.query("select operation_id from kser.tasks where attempt > 1 and position = 0")} <= held
    assert cell.database.value("select max(attempt) from kser.tasks") <= 2
    assert cell.database.value("select max(attempt) from kser.tasks where position = 1") == 1


def spread(cell, ledger, ids):
    """One more held operation, which goes to another partition; true once both workers hold something."""
    ids.append(cell.submit(ledger.hold(), ledger.note()))
    wait_until(lambda: len(ledger.lines()) == len(ids), 30, "the task to be held")
    return len({line[3] for line in ledger.lines()}) > 1


@pytest.mark.timeout(120)
def test_only_worker_killed_and_another_started(cell, ledger):
    _, (worker,) = cell.start()
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.hold()]} for _ in range(5)])
    wait_until(lambda: len(ledger.lines()) == 5, 30, "all tasks to be held")
    worker.kill()
    cell.worker()
    wait_until(lambda: len(ledger.lines()) == 10, 60, "the tasks to start again")
    ledger.open()
    assert cell.wait(ids)["SUCCESS"] == 5


# The orchestrator dies between a commit and the acknowledgement of the dispatches that followed from it: the results, whose
# offsets it had not committed, come again to the other one, which must send those dispatches once more.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("orchestrators", [1, 2])
def test_orchestrator_killed_under_load(cell, ledger, orchestrators):
    running, _ = cell.start(orchestrators=orchestrators, workers=2)
    # A slow first task lets all operations pass admission before the first death.
    ids = cell.submit_many([{"name": "n", "tasks": [{"entrypoint": "sleep", "params": {"seconds": 2}}] + [ledger.note()] * 30} for _ in range(100)])
    wait_until(lambda: cell.database.value("select count(*) from kser.ready") == 0, 30, "all operations to be admitted")
    for goal in (200, 1000, 2000):
        wait_until(lambda: len(ledger.lines()) > goal, 60, f"{goal} executions", pause=0.005)
        victim = running.pop(0)
        victim.kill()
        running.append(cell.orchestrator())
    assert cell.wait(ids, 120)["SUCCESS"] == len(ids)
    executions = ledger.executions()
    assert not [(id, position) for id in ids for position in range(1, 31) if executions[id, position] < 1]
    assert cell.database.value("select max(attempt) from kser.tasks") == 1


# Its row stays behind and must not count for ever: others take over the keeper's work.
@pytest.mark.timeout(120)
def test_a_dead_orchestrator_is_forgotten(cell, ledger):
    (first,), _ = cell.start()
    first.kill()
    cell.orchestrator()
    id = cell.submit(ledger.note())
    assert cell.wait(id, 30)["SUCCESS"] == 1
    cell.wait_for_orchestrators(1)


# `kser-worker … 2>&1 | head -1`: what is logged afterwards meets a pipe that nobody reads. A command of the worker is ended by SIGPIPE as ever.
@pytest.mark.timeout(120)
def test_the_reader_of_a_log_goes_away(cell, tmp_path):
    config = tmp_path / "worker.ini"
    config.write_text("[entrypoint pipe]\ncommand = sh -c 'kill -PIPE $$; exit 0'\n")
    orchestrator = read_a_line(tmp_path / "orchestrator.pipe", lambda wrap: cell.orchestrator("--log-level", "debug", wrap=wrap))
    cell.wait_for_orchestrators(1)
    worker = read_a_line(tmp_path / "worker.pipe", lambda wrap: cell.worker("--config", config, "--log-tasks", wrap=wrap))
    cell.wait_for_workers(1)
    ids = [cell.submit({"entrypoint": "echo"}), cell.submit({"entrypoint": "pipe"})]
    assert cell.wait(ids) == {"SUCCESS": 1, "FAILED": 1}
    assert cell.tasks(ids[1]) == [(0, "FAILED", 1, 128 + signal.SIGPIPE)]
    assert (worker.stop(), orchestrator.stop()) == (0, 0)


def read_a_line(pipe, start):
    """Starts a program, reads the first line of its log and goes away."""
    os.mkfifo(pipe)
    process = start(["sh", "-c", 'exec "$@" 2>"$0"', pipe])
    with open(pipe) as log:
        assert log.readline()
    return process
