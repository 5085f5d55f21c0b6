"""What somebody wants ended (kser.stops): whatever ends the attempt ends the operation. Deadlines of operations."""

import threading
import uuid

import pytest

from support.waiting import wait_until


def ended(engine, operation):
    row = engine.operation(operation)
    return row["status"], row["error"], row["retcode"]


def clean(engine):
    return engine.value("select count(*) from kser.stops") == 0 and engine.value("select count(*) from kser.tasks where mark <> 0") == 0


CANCELLED = ("FAILED", "Cancelled", 499)


def test_a_result_of_a_stopped_task_counts_and_nothing_follows(engine, running):
    operation, dispatch = running(3)
    second, = engine.apply(engine.result(dispatch, 1, retval={"a": 1}))
    engine.stop(second)
    other, unmarked = running(2)
    answers = engine.apply(engine.result(second, 2, retval={"b": 2}, stdout="two"), engine.result(unmarked, 3))
    assert {a["input"]: (a["verdict"], a["freed"], a["operation_id"]) for a in answers} == {1: ("won", "", None), 2: ("won", None, other)}
    assert engine.statuses(operation) == ["SUCCESS", "SUCCESS", "PENDING"] and engine.statuses(other) == ["SUCCESS", "RUNNING"]
    assert ended(engine, operation) == CANCELLED and clean(engine)
    assert (engine.operation(operation)["retval"], engine.operation(operation)["stdout"]) == ({"a": 1, "b": 2}, "two")
    assert engine.kinds(operation) == ["stopped"]


def test_the_success_of_the_last_task_is_the_operations(engine, running):
    operation, dispatch = running(1, key="k")
    engine.stop(dispatch)
    assert engine.apply(engine.result(dispatch, 1))[0]["freed"] == ""
    assert ended(engine, operation) == ("SUCCESS", None, 0) and clean(engine)
    assert engine.value("select count(*) from kser.keys") == 0


@pytest.mark.parametrize("plan", [[{"entrypoint": "b"}], []], ids=["plan", "empty"])
def test_a_plan_of_a_stopped_task_is_not_taken(engine, running, plan):
    operation, dispatch = running(1, key="k")
    engine.stop(dispatch)
    engine.apply(engine.result(dispatch, 1, plan=plan))
    assert ended(engine, operation) == CANCELLED and engine.statuses(operation) == ["SUCCESS"] and clean(engine)
    assert engine.value("select count(*) from kser.keys") == 0


@pytest.mark.parametrize("careful", [False, True])
def test_a_failure_of_a_stopped_task_is_not_retried(engine, running, careful):
    operation, dispatch = running(2, policy={"max_attempts": 5, "delay": 0})
    engine.stop(dispatch)
    engine.apply(engine.result(dispatch, 1, retcode=7, error="Own"), careful=careful)
    task = engine.tasks(operation)[0]
    assert (task["status"], task["error"], task["retcode"]) == ("FAILED", "Own", 7)
    assert ended(engine, operation) == CANCELLED and clean(engine) and engine.admit() == []


def end_by_release(engine, dispatch):
    assert engine.release("w1", dispatch, reason="stopped") == {}


def end_by_expiry(engine, dispatch):
    engine.rows("update kser.claims set renewed_at = renewed_at - interval '9 s'")
    assert len(engine.expire()) == 1


def end_by_limit(engine, dispatch):
    engine.rows("update kser.claims set deadline_at = clock_timestamp() - interval '1 s'")
    assert len(engine.expire()) == 1


def end_by_loss(engine, dispatch):
    engine.rows("delete from kser.claims")
    engine.rows("insert into kser.proofs values ('', 9, now(), '{1}', '{1}', array_fill(9::bigint, '{12}'), '{null}', '{null}')")
    engine.rows("insert into kser.suspects values (%s, 0, 1, '', now() - interval '1 min')", dispatch["operation_id"])
    assert len(engine.rows("select * from kser.lose('', 9)")) == 1


def end_by_waiting(engine, dispatch):
    assert engine.value("select kser.overdue()") == 0
    engine.rows("update kser.stops set asked_at = asked_at - interval '5 s'")
    assert engine.value("select kser.overdue()") == 1


def end_by_refusal(engine, dispatch):
    assert engine.value("select kser.undeliverable(%s, 0, %s, 1, %s, 'x')", dispatch["operation_id"], dispatch["uuid"], dispatch["generation"])


def end_by_generation(engine, dispatch):
    engine.rows("select kser.new_generation('test')")


@pytest.mark.parametrize("end", [end_by_release, end_by_expiry, end_by_limit, end_by_loss, end_by_waiting, end_by_refusal, end_by_generation])
def test_whatever_ends_the_attempt_ends_the_operation(engine, running, end):
    operation, dispatch = running(2, policy={"max_attempts": 5, "delay": 0})
    engine.hold("w1", dispatch)
    engine.stop(dispatch)
    end(engine, dispatch)
    assert ended(engine, operation) == CANCELLED and engine.statuses(operation) == ["FAILED", "PENDING"] and clean(engine)
    assert engine.admit() == [] and engine.value("select count(*) from kser.claims") == 0
    assert engine.apply(engine.result(dispatch, 1))[0]["verdict"] in ("late", "stale")
    assert "stopped" in engine.kinds(operation)


def test_workers_are_told_what_to_stop(engine, running):
    operation, dispatch = running(1)
    assert engine.rows("select * from kser.stops_open()") == []
    engine.stop(dispatch)
    told, = engine.rows("select * from kser.stops_open()")
    assert told == {"operation_id": operation, "position": 0, "uuid": dispatch["uuid"], "attempt": 1, "generation": dispatch["generation"]}


def test_a_stop_of_a_deleted_operation_goes(engine, running):
    operation, dispatch = running(1)
    engine.stop(dispatch)
    engine.rows("delete from kser.tasks where operation_id = %s", operation)
    engine.rows("update kser.stops set asked_at = asked_at - interval '6 s'")
    assert engine.value("select kser.overdue()") == 0 and clean(engine)


def test_a_dispatch_of_a_stopped_task_is_not_given_again(engine, running):
    operation, dispatch = running(2)
    second, = engine.apply(engine.result(dispatch, 7))
    engine.stop(second)
    assert engine.apply(engine.result(dispatch, 7))[0]["uuid"] is None
    assert engine.statuses(operation) == ["SUCCESS", "RUNNING"]


def test_a_result_that_waited_for_a_cancel_sees_it(engine, another, running):
    """The verb has the task's row and marks it; the result waited for that row. Were the mark read before the wait, the operation would go on."""
    operation, dispatch = running(2)
    engine.rows("set lock_timeout = 0")
    verb = another(autocommit=False)
    assert verb.value("select kser.cancel(%s)", operation) == "asked"
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(engine.apply(engine.result(dispatch, 1))))
    thread.start()
    watcher = another()
    wait_until(lambda: watcher.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"), 10, "the result to wait")
    verb.connection.commit()
    thread.join()
    assert [(a["verdict"], a["uuid"]) for a in answers] == [("won", None)]
    assert ended(watcher, operation) == CANCELLED and watcher.statuses(operation) == ["SUCCESS", "PENDING"] and clean(watcher)


# --- Deadlines


def pass_deadline(engine):
    engine.rows("update kser.operations set deadline_at = clock_timestamp() - interval '1 ms'")


TIMEOUT = ("FAILED", "Timeout", 504)


@pytest.mark.parametrize("state", ["waiting", "backing off", "held"])
def test_past_its_deadline_what_waits_fails_at_once(engine, state):
    operation = engine.submit("x", 2, deadline="1h", key="k", policy={"max_attempts": 3, "delay": "1h"})
    if state != "waiting":
        engine.apply(engine.result(engine.admit()[0], 1, retcode=1))
    if state == "held":
        engine.rows("select kser.pause(%s)", operation)
    assert engine.value("select kser.overdue()") == 0
    pass_deadline(engine)
    assert engine.value("select kser.overdue()") == 1
    assert ended(engine, operation) == TIMEOUT and engine.statuses(operation) == ["FAILED", "PENDING"] and clean(engine)
    assert engine.tasks(operation)[0]["stderr"] == "the deadline of the operation has passed"
    engine.rows("update kser.ready set due_at = now()")
    assert engine.admit() == [] and engine.value("select count(*) from kser.keys") == 0
    assert engine.value("select kser.overdue()") == 0


def test_past_its_deadline_what_runs_is_asked_to_stop(engine, running):
    operation, dispatch = running(2, deadline="1h")
    pass_deadline(engine)
    assert engine.value("select kser.overdue()") == 1 and engine.value("select kser.overdue()") == 0
    assert engine.statuses(operation) == ["RUNNING", "PENDING"]
    assert [s["uuid"] for s in engine.rows("select * from kser.stops_open()")] == [dispatch["uuid"]]
    end_by_waiting(engine, dispatch)
    assert ended(engine, operation) == TIMEOUT and engine.statuses(operation) == ["FAILED", "PENDING"] and clean(engine)


def test_past_its_deadline_one_without_any_task_to_end_is_ended(engine, running):
    """By hand only does it come to that; the keeper would find it again for ever."""
    operation, dispatch = running(1, deadline="1h", key="k")
    engine.rows("update kser.tasks set status = 'SUCCESS', finished_at = now(), answer = 1")
    pass_deadline(engine)
    assert engine.value("select kser.overdue()") == 1 and engine.value("select kser.overdue()") == 0
    assert ended(engine, operation) == TIMEOUT and engine.statuses(operation) == ["SUCCESS"] and engine.value("select count(*) from kser.keys") == 0


def test_a_locked_operation_past_its_deadline_is_left_for_later(engine, another, running):
    operation, dispatch = running(2, deadline="1h")
    pass_deadline(engine)
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    assert engine.value("select kser.overdue()") == 0
    lane.connection.commit()
    assert engine.value("select kser.overdue()") == 1
    assert engine.rows("select position from kser.stops") == [{"position": 1}]
    assert engine.statuses(operation) == ["SUCCESS", "RUNNING"]


def test_the_beat_tells_the_keeper_what_there_is_to_do(engine):
    keeper, other = uuid.uuid4(), uuid.uuid4()

    def told(instance=keeper):
        beat = engine.beat(instance)
        return [name for name in ("in_flight", "overdue", "stops", "redrive") if beat[name]]

    assert told() == []
    operation = engine.submit("x", 1, deadline="1h")
    assert told() == []
    dispatch, = engine.admit()
    assert told() == ["in_flight"]
    engine.rows("update kser.operations set held = true")
    assert told() == []
    engine.hold("w1", dispatch)
    assert told() == ["in_flight"]
    pass_deadline(engine)
    assert told() == ["in_flight", "overdue"] and told(other) == []
    engine.value("select kser.overdue()")
    assert told() == ["in_flight", "overdue", "stops"]
    engine.rows("select kser.bury('t', 1, 2, 'why', 'x', null)")
    engine.rows("update kser.dead_letters set redrive_at = now()")
    assert told() == ["in_flight", "overdue", "stops", "redrive"]
    end_by_waiting(engine, dispatch)
    assert told() == ["redrive"] and ended(engine, operation) == TIMEOUT
