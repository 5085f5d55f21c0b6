"""The worker's threads on a broker that is only a list: what is reported and committed, and in which order."""

import base64
import json
import logging
import queue
import threading
import time

import pytest

from fleet import TASK, FleetController, Holds, dispatch
from kser_adapter import wire, worker
from kser_adapter.worker import Record, Refused, Worker

pytestmark = pytest.mark.usefixtures("quick")


def until(condition, what):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.005)


class Sent:
    def __init__(self, broker, value):
        self.broker, self.value = broker, value

    def acknowledged(self):
        return self.broker.acknowledge(self.value)

    def wait(self, seconds=30):
        return self.broker.acknowledge(self.value)


class Broker:
    """Records in one partition, unless a test puts one into another. `log` has what was reported and committed, in its order."""

    def __init__(self):
        self.records = queue.Queue()
        self.log = []
        self.said = queue.Queue()
        self.offset = 0
        self.first_end = 0
        self.paused = False
        self.mine = set()
        self.before_poll = []
        self.refuse = lambda message: False
        self.unacknowledged = 0
        self.acknowledged = []
        self.given_back = []
        self.keys = []
        self.commits_fail = 0
        self.joins = 0
        self.left_out = 0  # so many of them bring no assignment

    # what tests do

    def put(self, *values, partition=0):
        for value in values:
            self.records.put(Record("t.tasks", partition, self.offset, value if value is None or isinstance(value, bytes) else wire.encode(value).encode()))
            self.offset += 1

    def say(self, **params):
        self.said.put(wire.encode({"uuid": "u", "entrypoint": "kser.control", "params": params, "result": None, "metadata": {"kser": {"kind": "control"}}}).encode())

    def rebalance(self, change):
        """Runs `change` in the thread that polls, as clients do, and waits for it."""
        done = threading.Event()
        self.before_poll.append(lambda: (change(), done.set()))
        assert done.wait(20)

    def reports(self, kind):
        return [message["metadata"]["kser"] for message in self.log if isinstance(message, dict) and message["metadata"]["kser"]["kind"] == kind]

    def replies(self):
        return [message for message in self.log if isinstance(message, dict) and message["metadata"]["kser"]["kind"] == "result"]

    def commits(self):
        return [entry for entry in self.log if isinstance(entry, tuple)]

    # what the worker does

    def join(self, assigned, revoked, stopping):
        self.assigned, self.revoked = assigned, revoked
        self.joins += 1
        if self.joins > self.left_out:
            self.mine = {0}
            self.assigned([0])

    def poll(self, seconds):
        while self.before_poll:
            self.before_poll.pop(0)()
        if self.paused or not self.mine:
            return None
        try:
            return self.records.get(timeout=seconds or 0.001)
        except queue.Empty:
            return None

    def give_back(self, record):
        assert not self.paused, "nothing comes while it is paused"
        self.given_back.append(record)

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def commit(self, partition, offset):
        if self.commits_fail:
            self.commits_fail -= 1
            return False
        self.log.append((partition, offset))
        return True

    def committed(self, partition):
        return 0

    def end(self, partition):
        return self.first_end

    def partitions(self):
        return set(self.mine)

    def leave(self):
        self.log.append("left")

    def send(self, value, key=None):
        self.keys.append(key)
        message = json.loads(value)
        if not self.unacknowledged:
            self.log.append(message)
        return Sent(self, message)

    def acknowledge(self, message):
        if self.refuse(message):
            self.log.remove(message)
            raise Refused("too large")
        if self.unacknowledged:
            self.unacknowledged -= 1
            return False
        self.acknowledged.append(message)
        return True

    def listen(self):
        pass

    def heard(self, seconds):
        try:
            return [self.said.get(timeout=0.01)]
        except queue.Empty:
            return []

    def close(self):
        self.log.append("closed")


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in (("CLAIM_AFTER", 0.2), ("CLAIM_EVERY", 0.2), ("RETRY_AFTER", 0.01), ("REVOKE_WAIT", 1), ("REJOIN_AFTER", 60)):
        monkeypatch.setattr(worker, name, seconds)
    monkeypatch.delenv("LOCK_FILE", raising=False)
    monkeypatch.delenv("TERMINATE_FILE", raising=False)


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def start(broker):
    """start(): a worker that runs; ended with the test, which fails when it ended badly."""
    running = []

    def start(controller=FleetController, queue_name=""):
        made = Worker(broker, controller, queue_name)
        thread = threading.Thread(target=made.run)
        thread.start()
        running.append((made, thread))
        return made

    Holds.started.clear()
    Holds.gate.clear()
    yield start
    Holds.gate.set()
    for made, thread in running:
        made.stop()
        thread.join(20)
        assert not thread.is_alive() and made.failure is None


def test_report_first_then_commit(broker, start):
    broker.put(dispatch(params={"name": "x"}), dispatch(params={"name": "y"}, attempt=2))
    start()
    until(lambda: len(broker.commits()) == 2, "two commits")
    order = [entry if isinstance(entry, tuple) else entry["metadata"]["kser"]["attempt"] for entry in broker.log
             if isinstance(entry, tuple) or entry["metadata"]["kser"]["kind"] == "result"]
    assert order == [1, (0, 1), 2, (0, 2)]
    assert [reply["result"]["stdout"] for reply in broker.replies()] == ["Hello x !", "Hello y !"]


def test_nothing_is_committed_before_the_acknowledgement(broker, start):
    broker.unacknowledged = 3
    broker.put(dispatch(params={"name": "x"}))
    start()
    until(broker.commits, "a commit")
    assert [message["metadata"]["kser"]["kind"] for message in broker.acknowledged].count("result") == 1


@pytest.mark.parametrize("value, reason", [
    (None, "the record is empty"), (b"", "the record is empty"), (b"\xff\xfe", "utf-8"), (b"{", "Expecting"), (b"[]", "Failed to load message"),
    (b'{"uuid": "u"}', "entrypoint"), (b'{"uuid": "u", "entrypoint": "e", "metadata": {"kser": {"op": 1}}}', "metadata.kser.op"),
])
def test_records_that_cannot_be_used(broker, start, value, reason):
    broker.put(value, dispatch(params={"name": "x"}))
    start()
    until(lambda: len(broker.commits()) == 2, "the next one's commit")
    [dead] = broker.reports("dead")
    assert reason in dead["reason"] and dead["topic"] == "t.tasks" and dead["partition"] == 0 and dead["offset"] == 0
    assert base64.b64decode(dead["bytes"]) == (value or b"")
    assert len(broker.replies()) == 1


def test_a_bug_in_the_adapter_is_a_dead_letter(broker, start, monkeypatch):
    monkeypatch.setattr(worker.Worker, "execute_task", lambda *_: 1 / 0)
    broker.put(dispatch(params={"name": "x"}))
    start()
    until(broker.commits, "a commit")
    assert "division by zero" in broker.reports("dead")[0]["reason"]


@pytest.mark.parametrize("kind", ["nan", "bytes", "large", "surrogate", "nul", "deep", "long"])
def test_results_that_cannot_be_sent_become_errors(broker, start, kind):
    broker.put(dispatch(entrypoint="Strange", params={"kind": kind}, result={"uuid": "first", "retval": {"kept": 1}}))
    start()
    until(broker.commits, "a commit")
    [reply] = broker.replies()
    assert reply["result"]["retcode"] == 500 and "not usable" in reply["result"]["stderr"]
    assert reply["result"]["retval"]["kept"] == 1 and "value" not in reply["result"]["retval"]


def test_what_came_is_given_up_when_even_the_error_is_too_large(broker, start):
    broker.refuse = lambda message: len(json.dumps(message)) > 5000
    broker.put(dispatch(params={"name": "x"}, result={"uuid": "first", "retval": {"large": "x" * 6000}}))
    start()
    until(broker.commits, "a commit")
    [reply] = broker.replies()
    assert reply["result"]["retcode"] == 500 and reply["params"] == {} and reply["metadata"]["kser"]["attempt"] == 1


@pytest.mark.parametrize("key", ["start_by", "deadline"])
def test_too_late_to_start(broker, start, key):
    broker.put(dispatch(params={"name": "x"}, **{key: 1000}))
    start()
    until(broker.commits, "a commit")
    [reply] = broker.replies()
    assert reply["result"]["retcode"] == 504 and reply["result"]["retval"]["error"]["name"] == "Timeout"


def test_a_plan_travels_in_metadata(broker, start):
    broker.put(dispatch(entrypoint="DiceLaunch"))
    start(queue_name="py")
    until(broker.commits, "a commit")
    assert broker.replies()[0]["metadata"]["kser"]["tasks"] == [{"entrypoint": "fleet.DiceRoll", "params": {"player": 1}, "queue": "py"}] * 3


# A rebalance can bring a record again whose report is acknowledged, when the commit behind it did not get through.
def test_an_attempt_is_run_once(broker, start):
    broker.put(dispatch(params={"name": "x"}), dispatch(params={"name": "x"}), dispatch(params={"name": "x"}, attempt=2))
    start()
    until(lambda: len(broker.commits()) == 3, "three commits")
    assert [reply["metadata"]["kser"]["attempt"] for reply in broker.replies()] == [1, 2]


# ---- claims ----

def test_a_long_task_is_claimed_again_and_again(broker, start):
    broker.put(dispatch(entrypoint="Holds"))
    made = start()
    until(lambda: len(broker.reports("claim")) >= 3, "three claims")
    assert broker.paused, "the group is served, but nothing is taken"
    for claim in broker.reports("claim"):
        assert claim["worker"] == made.name and [(name["uuid"], name["attempt"], name["gen"]) for name in claim["claims"]] == [(TASK, 1, -5)]
    until(broker.commits, "its commit: under claim it is this worker's")
    assert not broker.replies()
    Holds.gate.set()
    until(broker.replies, "its report")
    claims = len(broker.reports("claim"))
    until(lambda: not broker.paused, "it goes on")
    broker.put(dispatch(params={"name": "x"}, attempt=2))
    until(lambda: broker.commits() == [(0, 1), (0, 2)], "the next task")
    assert len(broker.reports("claim")) == claims, "nothing is claimed behind its end"


@pytest.mark.parametrize("flags, first_end, claimed", [(1, 0, True), (0, 1, True), (0, 0, False)])
def test_careful_ones_are_claimed_before_the_start(broker, start, flags, first_end, claimed):
    broker.first_end = first_end
    broker.put(dispatch(params={"name": "x"}, flags=flags))
    start()
    until(broker.commits, "a commit")
    kinds = [message["metadata"]["kser"]["kind"] for message in broker.acknowledged if message["metadata"]["kser"]["kind"] != "heartbeat"]
    assert kinds == (["claim", "result"] if claimed else ["result"])


def test_revoked_while_it_runs(broker, start, monkeypatch):
    monkeypatch.setattr(worker, "CLAIM_AFTER", 60)
    broker.put(dispatch(entrypoint="Holds"))
    start()
    assert Holds.started.wait(20)
    until(lambda: broker.paused, "a pause")
    broker.rebalance(lambda: broker.revoked([0]))
    assert broker.commits() == [(0, 1)], "claimed, hence passed: nobody else runs it"
    assert any(message["metadata"]["kser"]["kind"] == "claim" for message in broker.acknowledged)
    Holds.gate.set()
    until(broker.replies, "its report")
    broker.put(dispatch(params={"name": "x"}, attempt=2))
    until(lambda: len(broker.commits()) == 2, "the next task")
    assert broker.commits() == [(0, 1), (0, 2)]


def test_lost_while_it_runs(broker, start, monkeypatch):
    monkeypatch.setattr(worker, "CLAIM_AFTER", 60)
    broker.put(dispatch(entrypoint="Holds"))
    start()
    assert Holds.started.wait(20)
    until(lambda: broker.paused, "a pause")
    broker.rebalance(lambda: broker.revoked([0], True))
    Holds.gate.set()
    until(broker.replies, "its report")
    broker.put(dispatch(params={"name": "x"}, attempt=2))
    until(broker.commits, "the next task")
    assert broker.commits() == [(0, 2)]


def test_what_is_assigned_while_a_task_runs_waits(broker, start):
    broker.put(dispatch(entrypoint="Holds"), dispatch(params={"name": "x"}, attempt=2))
    start()
    assert Holds.started.wait(20)
    until(lambda: broker.paused, "a pause")

    def come_back():
        broker.revoked([0])
        broker.paused = False
        broker.assigned([0])
    broker.rebalance(come_back)
    assert broker.paused
    Holds.gate.set()
    until(lambda: len(broker.replies()) == 2, "both")


# ---- what an orchestrator says ----

def test_stopped_before_the_start(broker, start):
    made = start()
    broker.say(kind="stop", tasks=[task().name])
    until(lambda: len(made.stopped.keys) == 1, "the stop")
    broker.put(dispatch(params={"name": "x"}), dispatch(params={"name": "x"}, attempt=2))
    until(lambda: len(broker.commits()) == 2, "two commits")
    [release] = broker.reports("release")
    assert [(name["uuid"], name["attempt"], name["reason"]) for name in release["tasks"]] == [(TASK, 1, "stopped")]
    assert [reply["metadata"]["kser"]["attempt"] for reply in broker.replies()] == [2]


def task():
    from fleet import task_of
    return task_of(dispatch())


def test_stopped_while_it_runs(broker, start):
    broker.put(dispatch(entrypoint="Holds"))
    made = start()
    until(lambda: broker.reports("claim"), "a claim")
    broker.say(kind="stop", tasks=[task().name])
    until(lambda: len(made.stopped.keys) == 1, "the stop")
    claims = len(broker.reports("claim"))
    Holds.gate.set()
    until(broker.replies, "its report")
    assert broker.replies()[0]["result"]["stdout"] == "held", "Python cannot be stopped: it is reported as it ends"
    assert len(broker.reports("claim")) <= claims + 1


def test_an_old_generation_is_dropped_and_a_new_one_is_not(broker, start):
    broker.put(dispatch(params={"name": "x"}))
    made = start()
    until(broker.commits, "the first")
    broker.say(kind="generation", gen=7)
    until(lambda: made.old_generations, "the word")
    broker.put(dispatch(params={"name": "x"}, attempt=2), dispatch(params={"name": "x"}, attempt=3, gen=7), dispatch(params={"name": "x"}, attempt=4, gen=8))
    until(lambda: len(broker.commits()) == 4, "all commits")
    assert [reply["metadata"]["kser"]["attempt"] for reply in broker.replies()] == [1, 3, 4]


@pytest.mark.parametrize("value", [b"\xff", b"{}", b"x", b'{"uuid":"u","entrypoint":"e","params":{"kind":"stop","tasks":7}}'])
def test_words_that_cannot_be_read(broker, start, caplog, value):
    with caplog.at_level(logging.WARNING, "kser_adapter"):
        broker.said.put(value)
        start()
        until(lambda: "cannot be used" in caplog.text, "a warning")
    broker.put(dispatch(params={"name": "x"}))
    until(broker.commits, "a commit")


# ---- heartbeats, leaving ----

def test_heartbeats(broker, start):
    made = start(queue_name="py")
    until(lambda: broker.reports("heartbeat"), "a heartbeat")
    first = broker.reports("heartbeat")[0]
    assert broker.keys[0] == made.name.encode(), "in one partition, so that the last one comes last"
    assert first["worker"] == made.name and first["queue"] == "py" and first["slots"] == 1 and first["waiting"] == 0
    assert {"name": "jobs.Hello", "required": ["name"]} in first["entrypoints"]
    until(lambda: broker.reports("heartbeat")[-1]["partitions"] == [0], "its partitions are told at once")
    broker.put(dispatch(entrypoint="Holds"))
    until(lambda: broker.reports("heartbeat")[-1]["claims"] == 1, "one that tells of the claim")
    assert broker.reports("heartbeat")[-1]["free"] == 0
    Holds.gate.set()
    until(lambda: broker.reports("heartbeat")[-1]["free"] == 1, "one that tells that it is free again")
    assert all("entrypoints" not in beat for beat in broker.reports("heartbeat")[1:])


def test_leaving_finishes_what_runs(broker, start):
    broker.put(dispatch(entrypoint="Holds"), dispatch(params={"name": "x"}, attempt=2))
    made = start()
    assert Holds.started.wait(20)
    made.stop()
    Holds.gate.set()
    until(lambda: "closed" in broker.log, "the end")
    assert len(broker.replies()) == 1 and broker.commits() == [(0, 1)], "what was not started is left to others"
    assert broker.reports("heartbeat")[-1]["leaving"] is True
    assert broker.log.index("left") > broker.log.index((0, 1))


def test_the_operators_files(broker, start, tmp_path, monkeypatch):
    pause, end = tmp_path / "pause", tmp_path / "terminate"
    monkeypatch.setenv("LOCK_FILE", str(pause))
    monkeypatch.setenv("TERMINATE_FILE", str(end))
    pause.touch()
    broker.put(dispatch(params={"name": "x"}))
    start()
    until(lambda: broker.paused, "a pause")
    assert not broker.replies()
    pause.unlink()
    until(broker.replies, "it goes on")
    end.touch()
    until(lambda: "closed" in broker.log, "the end")


def test_a_broken_client_ends_the_worker(broker):
    def broken(seconds):
        raise RuntimeError("fatal")
    broker.poll = broken
    with pytest.raises(RuntimeError, match="fatal"):
        Worker(broker, FleetController).run()
    assert "closed" in broker.log


def test_what_is_remembered_is_bounded():
    remembered = worker.Remembered(most=3)
    for number in (1, 2, 1, 3, 4):
        remembered.add(number)
    assert [number in remembered for number in (1, 2, 3, 4)] == [True, False, True, True]


# A client may tell of an assignment in a thread of its own, while a short task is in hand and nothing is paused yet.
def test_a_pause_at_an_assignment_ends_with_the_task(broker, start, monkeypatch):
    run = worker.Worker.execute_task

    def assigned_meanwhile(self, *rest):
        broker.assigned([0])
        assert broker.paused
        return run(self, *rest)
    monkeypatch.setattr(worker.Worker, "execute_task", assigned_meanwhile)
    broker.put(dispatch(params={"name": "x"}), dispatch(params={"name": "x"}, attempt=2))
    start()
    until(lambda: len(broker.commits()) == 2, "both")


def test_a_record_of_a_partition_that_went_away(broker, start):
    made = start()
    broker.put(dispatch(params={"name": "x"}), partition=1)  # of which it has none
    until(lambda: broker.given_back, "it is taken")
    broker.put(dispatch(params={"name": "x"}, attempt=2))
    until(broker.commits, "the next")
    assert [reply["metadata"]["kser"]["attempt"] for reply in broker.replies()] == [2] and made.failure is None


def test_a_commit_that_does_not_get_through_is_tried_again(broker, start):
    broker.commits_fail = 2
    broker.put(dispatch(entrypoint="Holds"))
    start()
    until(broker.commits, "the third try, while it runs")
    Holds.gate.set()
    until(broker.replies, "its report")


# Nothing follows in its partition: only a further try keeps the record from coming again.
def test_a_commit_behind_the_last_record_is_tried_again(broker, start):
    broker.commits_fail = 2
    broker.put(dispatch(params={"name": "x"}))
    start()
    until(broker.commits, "the third try")
    assert broker.commits() == [(0, 1)] and len(broker.replies()) == 1


@pytest.mark.parametrize("lost, commits", [(False, [(0, 1)]), (True, [])])
def test_what_is_owed_when_the_partition_goes(broker, start, monkeypatch, lost, commits):
    monkeypatch.setattr(worker, "RETRY_AFTER", 60)
    broker.commits_fail = 2
    broker.put(dispatch(params={"name": "x"}))
    made = start()
    until(lambda: broker.commits_fail == 0, "the second try")
    broker.rebalance(lambda: broker.revoked([0], lost))
    assert broker.commits() == commits and not made.owed


def test_a_commit_that_fails_while_the_partition_goes_is_not_made_up_for(broker, start, monkeypatch):
    """By then the partition has a new owner, whose offset it would set back."""
    monkeypatch.setattr(worker, "CLAIM_AFTER", 60)
    broker.put(dispatch(entrypoint="Holds"))
    made = start()
    assert Holds.started.wait(20)
    until(lambda: broker.paused, "a pause")
    broker.commits_fail = 1
    broker.rebalance(lambda: broker.revoked([0]))
    assert not broker.commits_fail and not made.owed
    made.owed[1] = 7  # of a partition that is not ours
    Holds.gate.set()
    until(broker.replies, "its report")
    until(lambda: not made.owed, "nothing is owed")
    assert broker.commits() == []


def test_without_an_assignment_it_joins_anew(broker, start, monkeypatch):
    monkeypatch.setattr(worker, "REJOIN_AFTER", 0.2)
    broker.left_out = 2
    broker.put(dispatch(params={"name": "x"}))
    made = start()
    until(broker.commits, "a commit")
    assert broker.joins == 3 and made.rejoin_after == 0.2, "the third brought one, and then it is patient no more"


def test_also_when_what_it_had_was_taken(broker, start, monkeypatch):
    monkeypatch.setattr(worker, "REJOIN_AFTER", 0.2)
    start()
    until(lambda: broker.joins == 1, "the first assignment")
    broker.rebalance(lambda: broker.revoked([0]))
    until(lambda: broker.joins == 2, "another one")


def test_an_assignment_of_nothing_is_one(broker, start, monkeypatch):
    """More workers than partitions: this one is spare."""
    monkeypatch.setattr(worker, "REJOIN_AFTER", 0.2)
    start()
    broker.rebalance(lambda: (broker.revoked([0]), broker.assigned([])))
    time.sleep(0.6)
    assert broker.joins == 1
