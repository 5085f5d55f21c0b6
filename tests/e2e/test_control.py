"""What workers say of several tasks, what they are told on the topic of control, and what waits because something is full."""

import json
import uuid

import psycopg2.errors
import pytest

from support.waiting import wait_until


def message(kser, **further):
    return json.dumps({"uuid": str(uuid.uuid4()), "entrypoint": f"kser.{kser['kind']}", "params": {}, "result": None, "metadata": {"kser": kser}, **further})


def name(id=None, **further):
    return {"uuid": str(uuid.uuid4()), "op": id or str(uuid.uuid4()), "pos": 0, "attempt": 1, "gen": 7, **further}


def told(cell, kind):
    """The params of the control records of a kind."""
    params = [json.loads(record.value())["params"] for record in cell.kafka.read(cell.topic("control"))]
    return [one for one in params if one["kind"] == kind]


def dead(cell):
    return [reason for reason, in cell.database.query("select reason from kser.dead_letters order by id")]


@pytest.fixture
def orchestrator(cell):
    started = cell.orchestrator()
    cell.wait_for_orchestrators(1)
    return started


# Not current, whatever the reason: told to stop each time it is claimed, until it is claimed no more.
def test_a_claim_of_what_is_not_current_is_answered_stop(cell, kafka, orchestrator):
    names = [name() for _ in range(3)]
    for count in (1, 2):
        kafka.produce(cell.topic("results"), [message({"kind": "claim", "worker": "w", "claims": names})])
        wait_until(lambda: len(told(cell, "stop")) == count, 30, f"stop number {count}")
    assert [sorted(one["uuid"] for one in stop["tasks"]) for stop in told(cell, "stop")] == [sorted(one["uuid"] for one in names)] * 2
    assert all(one in names for stop in told(cell, "stop") for one in stop["tasks"])
    assert dead(cell) == []


UNREADABLE = [
    {"kind": "claim", "worker": "w"},
    {"kind": "claim", "worker": "w", "claims": 3},
    {"kind": "claim", "worker": "", "claims": [name()]},
    {"kind": "claim", "worker": "w", "claims": [name(), {**name(), "attempt": "1"}]},
    {"kind": "claim", "worker": "w", "claims": [name()] * 501},
    {"kind": "release", "worker": "w"},
    {"kind": "release", "worker": "w", "tasks": [7]},
]


def test_claims_and_releases_that_cannot_be_read(cell, kafka, orchestrator):
    good = message({"kind": "claim", "worker": "w", "claims": [name()]})
    kafka.produce(cell.topic("results"), [*map(message, UNREADABLE), good], 0)
    wait_until(lambda: len(told(cell, "stop")) == 1, 30, "the good one behind them to be answered")
    wait_until(lambda: len(dead(cell)) == len(UNREADABLE), 30, "the dead letters")
    assert not [reason for reason in dead(cell) if not reason.startswith("metadata.kser.")]


# Somebody holds the task's row in an open transaction: the claim waits, and so does its offset; all other records go on.
@pytest.mark.timeout(120)
def test_a_claim_of_a_locked_task_waits(cell, kafka, connect, orchestrator):
    id = cell.submit({"entrypoint": "echo"})
    wait_until(lambda: cell.running() == 1, 30, "the dispatch")
    (task, generation, epoch), = cell.database.query("select t.uuid::text, m.generation, t.epoch from kser.tasks t, kser.meta m")
    held = {"uuid": task, "op": id, "pos": 0, "attempt": 1, "gen": generation}
    locker = connect(autocommit=False)
    with locker.cursor() as cursor:
        cursor.execute("select from kser.tasks where operation_id = %s for update", (id,))
        kafka.produce(cell.topic("results"), [message({"kind": "claim", "worker": "w", "claims": [held]}), message({"kind": "claim", "worker": "w", "claims": [name()]})], 0)
        wait_until(lambda: len(told(cell, "stop")) == 1, 30, "the claim behind it to be answered")
        assert cell.database.value("select count(*) from kser.claims") == 0
        assert kafka.committed(cell.topic("results"), f"{cell.prefix}.orchestrators")[0] < kafka.ends(cell.topic("results"))[0] - 1
    locker.rollback()
    wait_until(lambda: cell.database.query("select worker from kser.claims") == [("w",)], 30, "the claim")
    result = {"uuid": task, "retcode": 0, "stdout": "", "stderr": "", "retval": {}}
    kafka.produce(cell.topic("results"), [message({**held, "epoch": epoch, "kind": "result", "worker": "w"}, uuid=task, entrypoint="echo", result=result)])
    assert cell.wait(id)["SUCCESS"] == 1


def test_workers_are_told_the_generation(cell, orchestrator):
    generation = cell.database.value("select generation from kser.meta")
    wait_until(lambda: [one["gen"] for one in told(cell, "generation")] == [generation], 30, "the generation to be told")
    drawn = cell.database.value("select kser.new_generation('for the test')")
    wait_until(lambda: [one["gen"] for one in told(cell, "generation")] == [generation, drawn], 30, "the new one to be told")


# The backlog is full: submissions by topic stay with the broker, results are applied all the same, and so it empties.
@pytest.mark.timeout(180)
def test_a_full_backlog_holds_submissions_by_topic_back(cell, kafka, ledger):
    cell.database.query("update kser.queues set backlog_max = 5, window_size = 1")
    orchestrator = cell.orchestrator()
    cell.wait_for_orchestrators(1)
    ids = cell.submit_many([{"name": "n", "tasks": [ledger.note()] * 2} for _ in range(20)])
    wait_until(lambda: cell.database.value("select is_full from kser.queues"), 60, "the backlog to be measured")
    record = {"entrypoint": "late", "params": {}, "result": None, "metadata": {"kser": {"tasks": [ledger.note()]}}}
    kafka.produce(cell.topic("operations"), [json.dumps({**record, "uuid": str(uuid.uuid4())}) for _ in range(1500)])
    wait_until(lambda: "backlog of a queue is full" in orchestrator.text(), 30, "a warning")
    assert cell.database.value("select count(*) from kser.operations where name = 'late'") == 0
    cell.database.query("update kser.queues set window_size = 2000, backlog_max = 2000")
    cell.worker()
    assert cell.wait(ids)["SUCCESS"] == 20
    wait_until(lambda: cell.database.value("select count(*) from kser.operations where name = 'late' and status = 'SUCCESS'") == 1500, 120, "all of them to run")
    assert dead(cell) == []
    assert orchestrator.text().count("backlog of a queue is full") <= 2, "once by each lane"


# A dead letter goes to its topic as it came.
@pytest.mark.timeout(120)
def test_dead_letters_are_sent_again(cell, kafka, ledger, orchestrator):
    topic = cell.topic("operations")
    good = json.dumps({"uuid": str(uuid.uuid4()), "entrypoint": "good", "params": {}, "result": None, "metadata": {"kser": {"tasks": [ledger.note()]}}}).encode()
    values = [good] + [f"bad {n}".encode() for n in range(130)]
    for n, value in enumerate(values):
        cell.database.query("insert into kser.dead_letters (topic, partition, kafka_offset, reason, bytes, redrive_at) values (%s, 0, %s, 'r', %s, clock_timestamp())", topic, 1000000 + n, value)
    wait_until(lambda: cell.database.value("select count(*) from kser.operations where name = 'good'") == 1, 30, "the good one")
    wait_until(lambda: cell.database.value("select count(*) from kser.dead_letters where redrive_at is not null") == 0, 60, "all to be sent")
    wait_until(lambda: len(dead(cell)) == 130, 30, "the bad ones to come back")
    assert sorted({record.value() for record in kafka.read(topic)}) == sorted(values)


# Somebody looks at it in an open transaction: it cannot be deleted once it has been sent, which is tried again, but it is not sent again.
@pytest.mark.timeout(120)
def test_a_dead_letter_that_somebody_holds_is_sent_once(cell, kafka, connect):
    topic = cell.topic("operations")
    cell.database.query("insert into kser.dead_letters (topic, partition, kafka_offset, reason, bytes, redrive_at) values (%s, 0, 1, 'r', 'bad', now())", topic)
    holder = connect(autocommit=False)
    holder.cursor().execute("select from kser.dead_letters for update")
    cell.orchestrator()
    tries = "select count(*) = %s from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() and query ~ 'redriven'"
    for count in (1, 0, 1):
        wait_until(lambda: cell.database.value(tries, count), 30, "its deletion to be tried" if count else "the end of a try", pause=0.02)
    holder.rollback()
    wait_until(lambda: cell.database.value("select count(*) = 0 from kser.dead_letters where redrive_at is not null"), 30, "its deletion")
    assert [record.value() for record in kafka.read(topic)] == [b"bad"]


# One worker has one slot and the other many: what waits behind the one is handed back, and runs.
@pytest.mark.timeout(120)
def test_what_waits_behind_full_slots_goes_to_free_ones(cell, ledger, orchestrator):
    cell.worker("--slots", 1)
    cell.worker()
    cell.wait_for_workers(2)
    ids = [cell.submit(ledger.hold()) for _ in range(12)]
    wait_until(lambda: {line[0] for line in ledger.lines()} == set(ids), 60, "all tasks to be held")
    ledger.open()
    assert cell.wait(ids)["SUCCESS"] == 12
    assert set(ledger.executions().values()) == {1}


# The worker of the attempt that was cancelled dies without a word. That its record was passed proves nothing, since it was claimed: it
# is the operator who knows that it is gone.
@pytest.mark.timeout(120)
def test_what_was_ended_without_its_worker_is_tried_again_by_force(cell, kafka, ledger):
    _, (worker,) = cell.start()
    id = cell.submit(ledger.hold(), ledger.note())
    wait_until(lambda: cell.database.value("select count(*) from kser.claims"), 30, "the claim")
    wait_until(lambda: 1 in kafka.committed(cell.topic("tasks"), f"{cell.prefix}.workers"), 30, "its record's offset")
    assert cell.database.value("select kser.cancel(%s::uuid, 'test')", id) == "asked"
    worker.kill()
    assert cell.wait(id, 30)["FAILED"] == 1
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="may still run"):
        cell.database.value("select kser.retry(%s::uuid, 'again')", id)
    assert cell.database.value("select kser.retry(%s::uuid, 'its host is off', force => true)", id) == "retried"
    ledger.open()
    cell.worker()
    assert cell.wait(id, 60)["SUCCESS"] == 1


def test_a_single_place_in_a_full_window_is_filled(cell, ledger):
    """Places are gathered while tasks wait for them, but not for ever."""
    cell.database.query("update kser.queues set window_size = 320")
    cell.orchestrator()
    cell.wait_for_orchestrators(1)
    cell.submit_many([{"name": "n", "tasks": [ledger.note()]} for _ in range(400)])
    for window in (320, 321):
        cell.database.query("update kser.queues set window_size = %s", window)
        wait_until(lambda: cell.database.value("select count(*) from kser.tasks where status = 'RUNNING'") == window, 30, f"{window} tasks to be admitted")
