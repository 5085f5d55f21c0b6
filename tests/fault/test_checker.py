"""The oracle finds what it is for: each broken promise is planted into good evidence and has to be told, by its name and alone."""

import copy
from types import SimpleNamespace

import pytest

from fault.checker import Evidence, check, slowest_recovery
from fault.ledgers import Change, Execution, Operation, Record, Task

OP, T0, T1 = "op-0", "task-0", "task-1"
HASH = "hash"


def good():
    """One operation of two tasks that ran without a fault, as the four ledgers tell it."""
    client = [{"at": 1.0, "what": "intent", "key": "k", "hash": HASH}, {"at": 1.1, "what": "ack", "key": "k", "id": OP}]
    executions = [Execution(OP, T0, 1, 7, 2.0, 2.1, "n0"), Execution(OP, T1, 1, 7, 3.0, 3.1, "n1")]
    changes = [Change(1, 1.05, 1.06, OP, None, None, None, None, "PENDING", None, None),
               Change(2, 1.8, 1.9, OP, 0, T0, "PENDING", 0, "RUNNING", 1, None),
               Change(3, 1.8, 1.9, OP, None, None, "PENDING", None, "RUNNING", None, None),
               Change(4, 2.4, 2.5, OP, 0, T0, "RUNNING", 1, "SUCCESS", 1, "n0"),
               Change(5, 2.4, 2.5, OP, 1, T1, "PENDING", 0, "RUNNING", 1, None),
               Change(6, 3.4, 3.5, OP, 1, T1, "RUNNING", 1, "SUCCESS", 1, "n1"),
               Change(7, 3.4, 3.5, OP, None, None, "RUNNING", None, "SUCCESS", None, None)]
    rows = SimpleNamespace(operations={OP: Operation(OP, "n", "k", "SUCCESS", None, HASH, False)},
                           tasks=[Task(OP, 0, T0, "SUCCESS", 1, "n0", None), Task(OP, 1, T1, "SUCCESS", 1, "n1", None)],
                           changes=changes, attempts_lost=set(), steered=set())
    records = [Record("t", 0, 0, "dispatch", OP, 0, T0, 1, 99, 1, None), Record("t", 0, 1, "dispatch", OP, 1, T1, 1, 99, 1, None)]
    return Evidence(client, executions, rows, records)


def lost(e):
    e.operations.clear(), e.tasks.clear(), e.changes.clear(), e.executions.clear(), e.records.clear()


def other_payload(e):
    e.operations[OP] = e.operations[OP]._replace(body="another")


def second_row(e):
    e.operations["op-1"] = e.operations[OP]._replace(id="op-1")


def another_id(e):
    e.client.append({"what": "repeat", "key": "k", "id": "op-9"})


def another_body(e):
    e.client.append({"what": "other", "key": "k", "id": OP})


def started_early(e):
    e.executions[1] = e.executions[1]._replace(start=2.45)  # decided at 2.4, committed at 2.5


def running_early(e):
    e.changes[4] = e.changes[4]._replace(committed=2.3, id=3)


def ended_twice(e):
    e.changes.insert(4, e.changes[3])


def came_back(e):
    e.changes.append(Change(8, 4.0, 4.1, OP, 0, T0, "SUCCESS", 1, "PENDING", 1, None))


def jumped(e):
    e.changes[1] = e.changes[1]._replace(attempt=2)


def two_identities(e):
    e.records.append(e.records[0]._replace(task="task-x", offset=5, generation=98))
    e.tasks.append(Task(OP, 2, "task-x", "PENDING", 1, None, None))


def from_pending(e):
    e.changes[3] = e.changes[3]._replace(was="PENDING")


def never_ends(e):
    e.operations[OP] = e.operations[OP]._replace(status="RUNNING")


def fails(e):
    e.operations[OP] = e.operations[OP]._replace(status="FAILED", error="Lost")


def unknown_operation(e):
    e.phantom_ids.append("op-7")


def unknown_execution(e):
    e.executions.append(Execution("op-7", "task-7", 1, 7, 3.0, 3.1, "n7"))


def future_attempt(e):
    e.records.append(e.records[0]._replace(attempt=2, offset=5))


def wrong_result(e):
    e.tasks[0] = e.tasks[0]._replace(nonce="n9")


def result_of_another_attempt(e):
    e.executions[0] = e.executions[0]._replace(attempt=0)


def killed_before_its_end(e):
    e.executions[0] = e.executions[0]._replace(end=None)


def repeated(e):
    e.executions.append(e.executions[1]._replace(start=3.2, end=3.3, nonce="n2"))


PLANTED = [("durable", lost), ("durable", other_payload), ("submit once", second_row), ("submit once", another_id), ("submit once", another_body),
           ("order", started_early), ("order", running_early), ("one end", ended_twice), ("one end", came_back), ("one launch", jumped),
           ("one launch", two_identities), ("fenced", from_pending), ("no stuck", never_ends), ("no stuck", fails), ("no phantom", unknown_operation),
           ("no phantom", unknown_execution), ("no phantom", future_attempt), ("grounded", wrong_result), ("grounded", result_of_another_attempt),
           ("grounded", killed_before_its_end), ("explained", repeated)]


def test_good_evidence_is_good():
    assert check(good()) == []


@pytest.mark.parametrize("promise, plant", PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_planted(promise, plant):
    evidence = copy.deepcopy(good())
    plant(evidence)
    assert {violation.promise for violation in check(evidence)} == {promise}


def test_a_repeat_is_explained_by_a_fault_between():
    evidence = good()
    repeated(evidence)
    evidence.windows = [(3.05, 3.1)]
    assert check(evidence) == []
    evidence.windows = [(1.0, 2.0), (4.0, 5.0)]
    assert [violation.promise for violation in check(evidence)] == ["explained"]


def test_an_operator_may_retry_what_failed():
    evidence = good()
    evidence.changes.append(Change(8, 4.0, 4.1, OP, 0, T0, "FAILED", 1, "PENDING", 1, None))
    assert [violation.promise for violation in check(evidence)] == ["one end"]
    evidence.steered.add(OP)
    assert check(evidence) == []


def test_recovery_is_the_time_to_the_next_change():
    changes = good().changes
    assert slowest_recovery(changes, [2.0]) == (pytest.approx(0.4), OP)
    assert slowest_recovery(changes, [3.4, 5.0]) == (0.0, None)
    assert slowest_recovery(changes[:5], [3.0]) == (float("inf"), OP)
