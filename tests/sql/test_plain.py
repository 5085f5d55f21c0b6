"""The statement for plain successes: what it takes it does as kser.apply_results does, all else it leaves alone. That both do the same is shown on
thousands of states by the simulation; here stands what that does not draw, and what two sessions do to each other."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from support.waiting import wait_until


def test_a_chain_to_its_end(engine, running):
    operation, dispatch = running(3, key="k", metadata={"of": "operation"}, deadline="1h")
    for i in range(3):
        answer, = engine.apply_plain(engine.result(dispatch, i, stdout=f"out{i}", stderr="err", retval={f"k{i}": i}))
        if i < 2:
            assert (answer["attempt"], answer["entrypoint"], answer["params"], answer["metadata"], answer["freed"]) == (1, f"step{i + 1}", {"i": i + 1}, {"of": "operation"}, None)
            assert answer["deadline_ms"] and answer["limit_ms"] is None and answer["flags"] == 0
            dispatch = {**dispatch, "position": i + 1, **{k: answer[k] for k in ("uuid", "attempt", "epoch")}}
    assert answer["uuid"] is None and answer["freed"] == ""
    row = engine.operation(operation)
    assert (row["status"], row["retcode"], row["stdout"], row["stderr"], row["retval"], row["error"]) == ("SUCCESS", 0, "out2", "err", {"k2": 2}, None) and row["finished_at"]
    tasks = engine.tasks(operation)
    assert [(t["status"], t["worker"], t["answer"], t["retval"]) for t in tasks] == [("SUCCESS", "w1", i, {f"k{i}": i}) for i in range(3)]
    assert [t["partition"] for t in tasks[1:]] == [5, 5] and tasks[1]["dispatched_at"] == tasks[0]["finished_at"]
    assert engine.value("select count(*) from kser.keys") == engine.value("select count(*) from kser.history") == 0


def test_the_operation_keeps_the_accumulated_result(engine, running):
    operation, dispatch = running(1)
    engine.apply_plain(engine.result(dispatch, 1, retval={"own": 1}, total={"uuid": "u", "retcode": 0, "stdout": "before", "stderr": "", "retval": {"old": 0, "own": 1}}))
    assert engine.operation(operation)["retval"] == {"old": 0, "own": 1} and engine.operation(operation)["stdout"] == "before"
    assert engine.tasks(operation)[0]["retval"] == {"own": 1} and engine.tasks(operation)[0]["stdout"] is None


@pytest.mark.parametrize("seconds,noted", [(60, 1), (-1, 0)])
def test_an_end_is_noted_while_somebody_exports_traces(engine, running, seconds, noted):
    operation, dispatch = running(1)
    engine.rows("update kser.meta set traced_until = clock_timestamp() + %s * interval '1 s'", seconds)
    assert engine.apply_plain(engine.result(dispatch, 1))
    assert engine.value("select count(*) from kser.ended_operations where operation_id = %s", operation) == noted


def test_a_key_with_a_time_of_its_own_stays(engine, running):
    _, dispatch = running(1, key="k", key_for="1h")
    assert engine.apply_plain(engine.result(dispatch, 1))
    assert engine.value("select count(*) from kser.keys") == 1


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"generation": 1}, {"uuid": "00000000-0000-4000-8000-000000000000"}, {"position": 1}, {"position": 9},
                                   {"operation": "00000000-0000-4000-8000-000000000000"}, {"epoch": 99}, {"bytes": 1_050_000}], ids=str)
def test_a_result_of_another_attempt_is_left_alone(engine, running, wrong):
    operation, dispatch = running(3)
    before = engine.tasks(operation)
    assert engine.apply_plain(engine.result(dispatch, 1, **wrong)) == []
    assert engine.tasks(operation) == before


# What stands against it, beside the result itself.
STATES = {
    "held": "update kser.operations set held = true",
    "marked": "update kser.tasks set mark = 2",
    "ended": "update kser.operations set status = 'FAILED'",
    "halted": "update kser.meta set halted = 'why'",
    "in another queue": "update kser.tasks set queue = 'other' where position = 1",
    "too large": "update kser.tasks set params = json_build_object('x', repeat('x', 1044400)) where position = 1",
    "not waiting": "update kser.tasks set status = 'FAILED' where position = 1",
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_what_is_not_plain_is_left_alone(engine, running, change):
    operation, dispatch = running(3)
    engine.rows(change)
    before = engine.tasks(operation), engine.operation(operation)
    assert engine.apply_plain(engine.result(dispatch, 1)) == []
    assert (engine.tasks(operation), engine.operation(operation)) == before


@pytest.mark.parametrize("touch", ["pause_many(array['{operation}'::uuid])", "resume('{operation}')", "cancel('{operation}')", "hold('w', '{names}', '8s')"])
def test_whoever_touches_a_running_task_marks_it(engine, running, touch):
    operation, dispatch = running(2)
    engine.rows("select kser." + touch.format(operation=operation, names=json.dumps([engine.name(dispatch)])))
    assert engine.tasks(operation)[0]["mark"] & 3
    assert engine.apply_plain(engine.result(dispatch, 1)) == []
    assert engine.apply(engine.result(dispatch, 1))[0]["verdict"] == "won"
    assert engine.tasks(operation)[0]["mark"] == 0 and engine.value("select count(*) from kser.claims") == 0


def waits(watcher):
    return watcher.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")


def start_while_locked(engine, another, running, act, tasks=2):
    """A result comes while somebody has its task: `act` on that session, and its commit, let it go on. (its dispatch, its answers)"""
    _, dispatch = running(tasks)
    engine.rows("set lock_timeout = 0")
    other, watcher = another(autocommit=False), another()
    act(other, dispatch)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(engine.apply_plain, engine.result(dispatch, 1))
        wait_until(lambda: waits(watcher), 10, "the result to wait for the row")
        other.connection.commit()
        return dispatch, answers.result(30)


def test_what_was_marked_while_it_waited_is_left_alone(engine, another, running):
    """`held` was read before the pause was there: only the mark says so."""
    dispatch, answers = start_while_locked(engine, another, running, lambda other, dispatch: other.rows("select kser.pause(%s)", dispatch["operation_id"]))
    assert answers == [] and engine.statuses(dispatch["operation_id"]) == ["RUNNING", "PENDING"]


def test_two_sessions_with_one_result_have_one_winner(engine, another, running):
    dispatch, answers = start_while_locked(engine, another, running, lambda other, dispatch: other.apply_plain(other.result(dispatch, 1)))
    operation = dispatch["operation_id"]
    assert answers == [] and engine.statuses(operation) == ["SUCCESS", "RUNNING"] and engine.tasks(operation)[1]["attempt"] == 1


@pytest.mark.parametrize("act", ["select from kser.tasks where operation_id = %s for update", "update kser.tasks set epoch = epoch + 1 where operation_id = %s and position = 0"])
def test_a_task_that_is_as_plain_as_before_is_only_waited_for(engine, another, running, act):
    """Locked and not changed, or given a new epoch as a dispatch that is sent again is."""
    dispatch, answers = start_while_locked(engine, another, running, lambda other, dispatch: other.rows(act, dispatch["operation_id"]))
    assert len(answers) == 1 and engine.statuses(dispatch["operation_id"]) == ["SUCCESS", "RUNNING"]


# (tasks of the operation, what somebody changes who does not mark its running one)
UNMARKED = {
    "the operation, at its end": (1, "update kser.operations set priority = 5 where id = %s"),
    "the operation, before its end": (2, "update kser.operations set priority = 5 where id = %s"),
    "the successor": (2, "update kser.tasks set crashes = 1 where operation_id = %s and position = 1"),
    "the successor, which is gone": (2, "delete from kser.tasks where operation_id = %s and position = 1"),
}


@pytest.mark.parametrize("tasks, change", UNMARKED.values(), ids=UNMARKED)
def test_what_was_changed_without_a_mark_is_applied_whole_or_not_at_all(engine, another, running, tasks, change):
    """By the statement or, where the server does not find the row in its new version, by the function behind it."""

    def act(other, dispatch):
        other.rows("select from kser.tasks where operation_id = %s and position = 0 for update", dispatch["operation_id"])
        other.rows(change, dispatch["operation_id"])

    operation = None
    try:
        dispatch, answers = start_while_locked(engine, another, running, act, tasks)
        operation = dispatch["operation_id"]
        assert len(answers) == 1
    except psycopg2.errors.SerializationFailure:
        operation = engine.value("select id from kser.operations")
        assert engine.statuses(operation)[0] == "RUNNING"
        dispatch = engine.rows("select t.uuid, t.operation_id, t.position, t.attempt, t.epoch, m.generation from kser.tasks t, kser.meta m where t.position = 0")[0]
        assert engine.apply(engine.result(dispatch, 1), careful=True)[0]["verdict"] == "won"
    wanted = ["SUCCESS", "RUNNING"] if len(engine.tasks(operation)) == 2 else ["SUCCESS"]
    assert engine.statuses(operation) == wanted and engine.operation(operation)["status"] == ("RUNNING" if len(wanted) == 2 else "SUCCESS")
