"""How dispatches are read and reports are made."""

import base64
import json

import pytest
from cdumay_result import Result

from fleet import OPERATION, TASK, dispatch, task_of
from kser_adapter import wire


class Outcome:
    def __init__(self, task, result, own=None, plan=None):
        self.result, self.own, self.plan = result, own, plan
        self.params, self.metadata = task.message.params, task.message.metadata


def test_a_task_and_its_name():
    task = task_of(dispatch(attempt=2, flags=3))
    assert task.named and task.careful
    assert task.name == {"uuid": TASK, "op": OPERATION, "pos": 0, "attempt": 2, "gen": -5}
    assert task.key == task_of(dispatch(attempt=2, uuid="x")).key != task_of(dispatch(attempt=3)).key


def test_a_message_from_elsewhere_is_a_task_without_a_name():
    message = dispatch()
    del message["metadata"]["kser"]
    task = task_of(message)
    assert not task.named and task.key is None and not task.careful


@pytest.mark.parametrize("stamp", [{"op": None}, {"op": 1}, {"pos": "0"}, {"attempt": True}, {"gen": 1.5}, {"epoch": None}, {"flags": "1"}, {"start_by": "soon"},
                                   {"kind": "claim"}, {"kind": "result", "worker": "w"}])
def test_what_is_no_dispatch(stamp):
    with pytest.raises(wire.Unusable, match="metadata.kser"):
        task_of(dispatch(**stamp))


def test_metadata_kser_must_be_an_object():
    message = dispatch()
    message["metadata"]["kser"] = []
    with pytest.raises(wire.Unusable):
        task_of(message)


def test_a_reply_returns_what_came_unchanged():
    task = task_of(dispatch(queue="py", deadline=9, metadata={"traceparent": "00-1"}, params={"name": "x"}))
    reply = wire.reply(task, "w1", Outcome(task, Result(uuid=TASK, stdout="out")))
    assert reply == {"uuid": TASK, "entrypoint": "jobs.Hello", "params": {"name": "x"},
                     "result": {"uuid": TASK, "retcode": 0, "stdout": "out", "stderr": "", "retval": {}},
                     "metadata": {"traceparent": "00-1", "kser": {"kind": "result", "worker": "w1", "op": OPERATION, "pos": 0, "attempt": 1, "gen": -5, "epoch": 3,
                                                                  "deadline": 9, "queue": "py"}}}


def test_what_a_task_does_to_its_metadata_does_not_reach_the_stamp():
    task = task_of(dispatch())
    task.message.metadata["kser"]["attempt"] = 7
    task.message.metadata["own"] = 1
    reply = wire.reply(task, "w1", Outcome(task, Result(uuid=TASK)))
    assert reply["metadata"]["kser"]["attempt"] == 1 and reply["metadata"]["own"] == 1


def test_a_plan_only_comes_with_success():
    task = task_of(dispatch())
    plan = [{"entrypoint": "e"}]
    assert wire.reply(task, "w", Outcome(task, Result(), plan=plan))["metadata"]["kser"]["tasks"] == plan
    assert "tasks" not in wire.reply(task, "w", Outcome(task, Result(retcode=1), plan=plan))["metadata"]["kser"]


PREVIOUS = {"stdout": "a", "stderr": "", "retval": {"x": 1, "y": [2]}}


@pytest.mark.parametrize("result, own, expected", [
    ({"stdout": "a", "stderr": "", "retval": {"x": 1, "y": [2]}}, None, {"stdout": True, "retval": ["x", "y"]}),
    ({"stdout": "a", "stderr": "", "retval": {"x": 1, "y": [2]}}, {"stdout": "a", "stderr": "", "retval": {"x": 1}}, {"retval": ["y"]}),
    ({"stdout": "b", "stderr": "e", "retval": {"x": 2, "y": [2], "z": 0}}, None, {"retval": ["y"]}),
    ({"stdout": "b", "stderr": "", "retval": {}}, None, {}),
])
def test_what_is_only_carried_on(result, own, expected):
    assert wire.inherited(PREVIOUS, result, own) == expected


def test_nulls_that_kser_writes_and_cannot_read():
    result = Result(uuid=TASK)
    result.stdout = result.stderr = result.retval = None
    assert wire.plain_result(result) == {"uuid": TASK, "retcode": 0, "stdout": "", "stderr": "", "retval": {}}


@pytest.mark.parametrize("retcode", [None, 2**31, -2**31 - 1])
def test_retcodes_that_do_not_fit(retcode):
    with pytest.raises(ValueError, match="retcode"):
        wire.plain_result(Result(uuid=TASK, retcode=retcode))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, "\ud800", "a\0b", b"x", {1: 0, "1": 0}, {"\0": 0}, {"a": [{"b": "\udfff"}]}])
def test_what_the_orchestrator_could_not_read(value):
    with pytest.raises((ValueError, TypeError)):
        wire.encode({"params": value})


def nested(levels):
    value = None
    for _ in range(levels):
        value = [value]
    return value


def test_depth():
    assert json.loads(wire.encode(nested(64))) == nested(64)
    with pytest.raises(ValueError, match="64 levels"):
        wire.encode(nested(65))


def test_text_is_ascii_as_kser_writes_it():
    assert wire.encode({"a": "\u00e9\U0001f600", "b": -2**63, "c": 1e300}) == '{"a": "\\u00e9\\ud83d\\ude00", "b": -9223372036854775808, "c": 1e+300}'


def test_a_dead_letter():
    report = wire.dead("w1", "t.tasks", 3, 17, b"\xff" * 70000, "why \0 \ud800" + "x" * 1000)
    said = report["metadata"]["kser"]
    assert report["entrypoint"] == "kser.dead" and report["result"] is None and report["params"] == {}
    assert said["kind"] == "dead" and said["topic"] == "t.tasks" and said["partition"] == 3 and said["offset"] == 17 and said["worker"] == "w1"
    assert base64.b64decode(said["bytes"]) == b"\xff" * 65536
    wire.encode(report)
    assert wire.dead("w", "t", 0, 0, None, "")["metadata"]["kser"]["bytes"] == ""


def test_a_failure_keeps_what_came_unless_that_is_too_much():
    task = task_of(dispatch(result={"uuid": "first", "stdout": "kept", "retval": {"x": 1}}, params={"p": 1}))
    failure = wire.Failure(task, wire.failed(TASK, "Timeout", 504, "not started in time"))
    assert failure.result.retcode == 504 and failure.result.stdout == "kept" and failure.result.retval["x"] == 1
    assert failure.result.retval["error"] == {"code": 504, "name": "Timeout", "message": "not started in time", "msgid": "Err-00000", "extra": {}, "stack": None}
    bare = wire.Failure(task, wire.failed(TASK, "InternalError", 500, "m"), bare=True)
    assert bare.params == {} and bare.result.stdout == "" and bare.result.retval["error"]["msgid"] == "ERR-29885"
