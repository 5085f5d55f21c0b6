"""Bytes that cannot be used, between good records on every topic: kept as dead letters, and the partition goes on."""

import json
import uuid

import pytest

from support.waiting import wait_until


def message(**further):
    return {"uuid": str(uuid.uuid4()), "entrypoint": "echo", "params": {}, "result": None, "metadata": {}, **further}


POISON = {
    "nothing": b"",
    "text": b"hello",
    "half": b'{"uuid": "',
    "array": b"[]",
    "no fields": b"{}",
    "latin-1": b'{"uuid": "\xe9", "entrypoint": "echo"}',
    "surrogate": b'{"uuid": "\\ud800", "entrypoint": "echo"}',
    "twice": b'{"uuid": "a", "uuid": "b", "entrypoint": "echo"}',
    "NUL": b'{"uuid": "a\\u0000", "entrypoint": "echo"}',
    "control": b'{"uuid": "a", "entrypoint": "\\u001b[31mred"}',
    "number": b'{"uuid": "a", "entrypoint": "echo", "params": {"n": 1e400}}',
    "deep": b'{"uuid": "a", "entrypoint": "echo", "params": {"n": ' + b"[" * 100000 + b"]" * 100000 + b"}}",
    "params": json.dumps(message(params=[1])).encode(),
    "stamp": json.dumps(message(metadata={"kser": {"op": 1}})).encode(),
    "large": b'{"uuid": "' + b"x" * 1000000,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("topic", ["tasks", "results", "operations"])
def test_poison_between_good_records(running_cell, kafka, ledger, topic):
    name = running_cell.topic(topic)
    partitions = kafka.partitions(name)
    ids = [running_cell.submit(ledger.note(), ledger.note()) for _ in range(5)]
    for partition in range(partitions):
        kafka.produce(name, POISON.values(), partition)
    wanted = len(POISON) * partitions
    ids += [running_cell.submit(ledger.note(), ledger.note()) for _ in range(20)]
    assert running_cell.wait(ids)["SUCCESS"] == 25
    running_cell.check_each_once(ids, 2)
    wait_until(lambda: running_cell.database.value("select count(*) from kser.dead_letters where topic = %s", name) == wanted, 30, f"{wanted} dead letters")
    rows = running_cell.database.query("select partition, kafka_offset, reason, bytes from kser.dead_letters")
    values = {(record.partition(), record.offset()): record.value() or b"" for record in kafka.read(name)}
    for partition, offset, reason, kept in rows:
        assert bytes(kept) == values[partition, offset][:64 * 1024]
        assert reason and len(reason) < 700 and reason.isprintable(), reason


# A record without a value, as a compacting producer leaves it.
def test_tombstones(running_cell, kafka, ledger):
    topics = [running_cell.topic(name) for name in ("tasks", "results", "operations")]
    for topic in topics:
        kafka.produce(topic, [None])
    id = running_cell.submit(ledger.note())
    assert running_cell.wait(id)["SUCCESS"] == 1
    count = "select count(distinct topic) from kser.dead_letters"
    wait_until(lambda: running_cell.database.value(count) == 3, 30, "three dead letters")


# Whole messages that ask for what cannot be done: nobody waits for an answer, so they are kept as well.
def test_impossible_submissions(running_cell, kafka, ledger):
    impossible = [{"tasks": []}, {"tasks": [{"entrypoint": ""}]}, {"tasks": [{}]}, {"tasks": 7}, {"priority": "high", "tasks": [{"entrypoint": "echo"}]}]
    good = message(entrypoint="good", metadata={"kser": {"tasks": [ledger.note()]}})
    kafka.produce(running_cell.topic("operations"), [*(json.dumps(message(metadata={"kser": kser})) for kser in impossible), json.dumps(good)])
    wait_until(lambda: len(ledger.lines()) == 1, 30, "the good one to run")
    assert running_cell.database.value("select count(*) from kser.operations") == 1
    wait_until(lambda: running_cell.database.value("select count(*) from kser.dead_letters") == len(impossible), 30, "the dead letters")


# Replies that look right and are not: of another generation, for an attempt that is not, for a task that is not.
def test_forged_results_change_nothing(running_cell, kafka, ledger):
    id = running_cell.submit(ledger.hold(), ledger.note())
    wait_until(lambda: len(ledger.lines()) == 1, 30, "the task to be held")
    (task, generation, epoch), = running_cell.database.query(
        "select t.uuid::text, m.generation, t.epoch from kser.tasks t, kser.meta m where t.operation_id = %s and t.position = 0", id)
    right = {"op": id, "pos": 0, "attempt": 1, "gen": generation, "epoch": epoch, "kind": "result", "worker": "nobody"}
    forged = [{**right, "gen": generation ^ 1}, {**right, "attempt": 2}, {**right, "op": str(uuid.uuid4())}, {**right, "pos": 1}]
    result = {"uuid": task, "retcode": 0, "stdout": "counterfeit", "stderr": "", "retval": {}}
    records = [json.dumps(message(uuid=task, result=result, metadata={"kser": stamp})) for stamp in forged]
    records.append(json.dumps(message(result=result, metadata={"kser": right})))  # another task's uuid
    kafka.produce(running_cell.topic("results"), records)
    counted = "select sum(value) from kser.counters where name in ('replies_late', 'replies_stale', 'replies_unknown')"
    wait_until(lambda: running_cell.database.value(counted) == len(records), 30, "the forged replies to be counted")
    assert running_cell.tasks(id) == [(0, "RUNNING", 1, None), (1, "PENDING", 0, None)]
    ledger.open()
    assert running_cell.wait(id)["SUCCESS"] == 1
    assert "counterfeit" not in str(running_cell.database.query("select * from kser.tasks"))


# A reply that says the task has ended and not how: kept, and the worker's own answer still counts.
def test_a_reply_without_a_result(running_cell, kafka, ledger):
    id = running_cell.submit(ledger.hold())
    wait_until(lambda: len(ledger.lines()) == 1, 30, "the task to be held")
    (task, generation, epoch), = running_cell.database.query("select t.uuid::text, m.generation, t.epoch from kser.tasks t, kser.meta m where t.operation_id = %s", id)
    stamp = {"op": id, "pos": 0, "attempt": 1, "gen": generation, "epoch": epoch, "kind": "result", "worker": "nobody"}
    kafka.produce(running_cell.topic("results"), [json.dumps(message(uuid=task, metadata={"kser": stamp}))])
    wait_until(lambda: running_cell.database.value("select count(*) from kser.dead_letters") == 1, 30, "the dead letter")
    assert running_cell.tasks(id) == [(0, "RUNNING", 1, None)]
    ledger.open()
    assert running_cell.wait(id)["SUCCESS"] == 1
    assert running_cell.tasks(id) == [(0, "SUCCESS", 1, 0)] and ledger.executions()[id, 0] == 1


# Heartbeats that name their entrypoints in odd ways stop nobody: what has a name is noted, once.
def test_odd_heartbeats(running_cell, kafka, ledger):
    lists = {"nameless": [{}], "number": [1], "twice": [{"name": "a", "required": []}, {"name": "a", "required": ["x"]}]}
    stamps = [{"kind": "heartbeat", "worker": worker, "queue": "odd", "slots": 1, "free": 1, "entrypoints": entrypoints} for worker, entrypoints in lists.items()]
    topic = running_cell.topic("results")
    for partition in range(kafka.partitions(topic)):
        kafka.produce(topic, [json.dumps(message(entrypoint="kser.heartbeat", metadata={"kser": stamp})) for stamp in stamps], partition)
    ids = [running_cell.submit(ledger.note()) for _ in range(20)]
    assert running_cell.wait(ids)["SUCCESS"] == 20
    noted = "select count(*) from kser.workers where queue = 'odd'"
    wait_until(lambda: running_cell.database.value(noted) == len(lists), 30, "the heartbeats to be noted")
    assert running_cell.database.query("select name from kser.entrypoints where queue = 'odd'") == [("a",)]
    assert running_cell.database.value("select count(*) from kser.dead_letters") == 0


# A uuid is the key of its record: the second one asks for something else under the same key.
def test_one_uuid_with_two_bodies(running_cell, kafka, ledger):
    id = str(uuid.uuid4())
    bodies = [message(uuid=id, entrypoint=name, metadata={"kser": {"tasks": [ledger.note()]}}) for name in ("first", "second")]
    good = message(entrypoint="good", metadata={"kser": {"tasks": [ledger.note()]}})
    kafka.produce(running_cell.topic("operations"), map(json.dumps, [*bodies, good]), 0)
    wait_until(lambda: len(ledger.lines()) == 2, 30, "the first and the good one to run")
    assert running_cell.database.query("select name from kser.operations order by 1") == [("first",), ("good",)]
    wait_until(lambda: running_cell.database.value("select count(*) from kser.dead_letters") == 1, 30, "the dead letter")
    assert "second" in bytes(running_cell.database.value("select bytes from kser.dead_letters")).decode()
