"""kser.apply_results: one winner for each attempt, successors in the same transaction, nothing from strangers."""

import json
import threading

import psycopg2
import psycopg2.errors
import pytest

from support.waiting import wait_until


def test_a_chain_to_its_end(engine, running):
    operation, dispatch = running(3)
    for i in range(3):
        answer, = engine.apply(engine.result(dispatch, i, stdout=f"out{i}", retval={f"k{i}": i}))
        assert answer["verdict"] == "won"
        dispatch = {**dispatch, **{k: v for k, v in answer.items() if v is not None}}
        if i < 2:
            assert (answer["position"], answer["attempt"], answer["partition"], answer["entrypoint"], answer["freed"]) == (i + 1, 1, 5, f"step{i + 1}", None)
    assert answer["uuid"] is None and answer["freed"] == ""
    row = engine.operation(operation)
    assert (row["status"], row["retcode"], row["stdout"], row["error"]) == ("SUCCESS", 0, "out2", None) and row["finished_at"]
    assert engine.statuses(operation) == ["SUCCESS"] * 3
    assert [t["retval"] for t in engine.tasks(operation)] == [{"k0": 0}, {"k1": 1}, {"k2": 2}]
    assert engine.value("select count(*) from kser.history") == 0


def test_the_operation_keeps_the_accumulated_result(engine, running):
    operation, dispatch = running(1)
    engine.apply(engine.result(dispatch, 1, retval={"own": 1}, total={"uuid": "u", "retcode": 0, "stdout": "before", "stderr": "", "retval": {"old": 0, "own": 1}}))
    assert engine.operation(operation)["retval"] == {"old": 0, "own": 1} and engine.operation(operation)["stdout"] == "before"
    assert engine.tasks(operation)[0]["retval"] == {"own": 1} and engine.tasks(operation)[0]["stdout"] is None


def test_failure_in_the_middle_ends_the_operation(engine, running):
    operation, dispatch = running(3)
    answer, = engine.apply(engine.result(dispatch, 1))
    engine.apply(engine.result(answer, 2, retcode=42, error="Broken", stderr="no"))
    assert engine.statuses(operation) == ["SUCCESS", "FAILED", "PENDING"]
    row = engine.operation(operation)
    assert (row["status"], row["retcode"], row["error"], row["stderr"]) == ("FAILED", 42, "Broken", "no")
    assert engine.admit() == []
    failed, = engine.rows("select * from kser.history")
    assert (failed["kind"], failed["retcode"], failed["attempt"]) == ("failed", 42, 1)


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"attempt": 0}, {"generation": 1}, {"uuid": "00000000-0000-4000-8000-000000000000"}, {"position": 1}, {"position": 9},
                                   {"operation": "00000000-0000-4000-8000-000000000000"}, {"epoch": 99}], ids=str)
def test_a_result_that_is_not_this_attempts_changes_nothing(engine, running, wrong):
    operation, dispatch = running(3)
    before = engine.tasks(operation)
    answer, = engine.apply(engine.result(dispatch, 1, **wrong))
    assert answer["verdict"] in ("late", "stale", "unknown", "ahead") and answer["uuid"] is None
    assert engine.tasks(operation) == before
    assert engine.value("select sum(value) from kser.counters") == 1
    assert engine.apply(engine.result(dispatch, 2))[0]["verdict"] == "won"


def test_a_stale_row_does_not_shadow_the_valid_one(engine, running):
    """Duplicates are removed after the filter: the stale one stands first."""
    _, dispatch = running(2)
    verdicts = {a["input"]: a["verdict"] for a in engine.apply(engine.result(dispatch, 1, generation=1), engine.result(dispatch, 2))}
    assert verdicts == {1: "stale", 2: "won"}


def test_of_two_results_in_one_batch_the_first_wins(engine, running):
    operation, dispatch = running(2)
    verdicts = {a["input"]: a["verdict"] for a in engine.apply(engine.result(dispatch, 1, stdout="first"), engine.result(dispatch, 2, stdout="second"))}
    assert verdicts == {1: "won", 2: "late"}
    assert engine.tasks(operation)[0]["stdout"] == "first"


def test_the_same_record_again_gives_the_same_dispatch_again(engine, running):
    """The process died between its commit and the send."""
    operation, dispatch = running(3)
    first, = engine.apply(engine.result(dispatch, 7))
    engine.rows("update kser.meta set epoch = epoch + 1")
    again, = engine.apply(engine.result(dispatch, 7))
    assert again["verdict"] == "repeated"
    assert (again["uuid"], again["attempt"], again["partition"]) == (first["uuid"], first["attempt"], first["partition"])
    assert again["epoch"] == first["epoch"] + 1 == engine.tasks(operation)[1]["epoch"]


def test_another_record_never_gives_a_dispatch_again(engine, running):
    """A second execution's result: were it to re-emit, one duplicate would double every later step."""
    _, dispatch = running(3)
    engine.apply(engine.result(dispatch, 7))
    again, = engine.apply(engine.result(dispatch, 8))
    assert again["verdict"] == "late" and again["uuid"] is None


def test_a_locked_successor_is_waited_for_by_nobody(engine, another, running):
    operation, dispatch = running(3)
    engine.apply(engine.result(dispatch, 7))
    holder = another(autocommit=False)
    holder.rows("select from kser.tasks where operation_id = %s and position = 1 for update", operation)
    assert engine.apply(engine.result(dispatch, 7), careful=True)[0]["verdict"] == "busy"
    holder.connection.rollback()
    again, = engine.apply(engine.result(dispatch, 7), careful=True)
    assert again["verdict"] == "repeated" and again["uuid"]


def test_no_dispatch_again_once_the_successor_has_moved_on(engine, running):
    _, dispatch = running(3)
    second, = engine.apply(engine.result(dispatch, 7))
    engine.apply(engine.result(second, 8))
    assert engine.apply(engine.result(dispatch, 7))[0]["uuid"] is None


def test_no_dispatch_again_when_the_successor_is_claimed(engine, running):
    operation, dispatch = running(3)
    second, = engine.apply(engine.result(dispatch, 7))
    engine.rows("insert into kser.claims (operation_id, position, uuid, attempt, worker, claimed_at, renewed_at) values (%s, 1, %s, 1, 'w', now(), now())",
                operation, second["uuid"])
    again, = engine.apply(engine.result(dispatch, 7))
    assert again["verdict"] == "repeated" and again["uuid"] is None


def test_a_late_result_is_kept_once(engine, running):
    _, dispatch = running(1)
    engine.apply(engine.result(dispatch, 1))
    for answer in (2, 3):
        engine.apply(engine.result(dispatch, answer, retval={"n": answer}, worker="w2"))
    late, = engine.rows("select * from kser.history where kind = 'late'")
    assert (late["uuid"], late["attempt"], late["worker"]) == (dispatch["uuid"], 1, "w2")
    assert engine.value("select value from kser.counters where name = 'replies_late'") == 2


def test_a_held_operation_starts_no_successor(engine, running):
    operation, dispatch = running(2)
    engine.rows("update kser.operations set held = true where id = %s", operation)
    answer, = engine.apply(engine.result(dispatch, 1))
    assert answer["uuid"] is None and answer["freed"] == ""
    assert engine.statuses(operation) == ["SUCCESS", "PENDING"]
    assert engine.operation(operation)["status"] == "RUNNING"


def test_held_is_read_after_the_wait_for_the_row(engine, another, running):
    """A verb locks the current task's row, then sets held. A result that waited for that row must see it."""
    operation, dispatch = running(2)
    engine.rows("set lock_timeout = 0")
    verb = another(autocommit=False)
    verb.rows("select from kser.tasks where operation_id = %s and position = 0 for update", operation)
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(engine.apply(engine.result(dispatch, 1))))
    thread.start()
    watcher = another()
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    wait_until(lambda: watcher.value(waiting), 10, "the result to wait for the row")
    verb.rows("update kser.operations set held = true where id = %s", operation)
    verb.connection.commit()
    thread.join()
    assert answers[0]["verdict"] == "won" and answers[0]["uuid"] is None
    assert watcher.statuses(operation) == ["SUCCESS", "PENDING"]


def test_a_locked_row_fails_fast_and_the_careful_way_waits_for_nobody(engine, another, running):
    locked, first = running(2)
    _, second = running(2)
    holder = another(autocommit=False)
    holder.rows("select from kser.tasks where operation_id = %s for update", locked)
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        engine.apply(engine.result(first, 1), engine.result(second, 2))
    verdicts = {a["input"]: a["verdict"] for a in engine.apply(engine.result(first, 1), engine.result(second, 2), careful=True)}
    assert verdicts == {1: "busy", 2: "won"}
    holder.connection.rollback()
    assert engine.apply(engine.result(first, 1), careful=True)[0]["verdict"] == "won"


def test_the_careful_way_says_unknown_for_what_does_not_exist(engine, running):
    _, dispatch = running(1)
    assert engine.apply(engine.result(dispatch, 1, position=7), careful=True)[0]["verdict"] == "unknown"


def test_two_sessions_with_one_result_have_one_winner(engine, another, running):
    for i in range(50):
        _, dispatch = running(2)
        verdicts = []
        sessions = [another(), another()]
        for session in sessions:
            session.rows("set lock_timeout = '10s'")
        threads = [threading.Thread(target=lambda s=s, a=a: verdicts.extend(s.apply(s.result(dispatch, a)))) for a, s in enumerate(sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(v["verdict"] for v in verdicts) == ["late", "won"]
        assert sum(v["uuid"] is not None for v in verdicts) == 1


def test_only_read_committed(another, running):
    _, dispatch = running(1)
    session = another(autocommit=False)
    session.rows("set transaction isolation level repeatable read")
    with pytest.raises(psycopg2.Error, match="needs READ COMMITTED"):
        session.apply(session.result(dispatch, 1))


# --- Retries


def test_a_task_with_tries_left_waits_and_runs_again(engine, running):
    operation, dispatch = running(2, policy={"max_attempts": 3, "delay": "10s", "jitter": 0})
    for attempt, delay in ((1, 10), (2, 20)):
        answer, = engine.apply(engine.result(dispatch, attempt, retcode=1))
        assert answer["freed"] == ""
        task = engine.tasks(operation)[0]
        assert (task["status"], task["attempt"], task["failures"]) == ("PENDING", attempt, attempt)
        assert engine.value("select extract(epoch from due_at - %s)::integer from kser.ready", task["finished_at"]) == delay
        assert engine.admit() == []
        engine.rows("update kser.ready set due_at = now()")
        dispatch, = engine.admit()
        assert dispatch["attempt"] == attempt + 1
    engine.apply(engine.result(dispatch, 9, retcode=1))
    assert engine.operation(operation)["status"] == "FAILED"
    assert engine.value("select count(*) from kser.history where kind = 'failed'") == 3


def test_what_the_task_calls_temporary_has_three_tries_by_default(engine, running):
    operation, dispatch = running(1)
    for answer in (1, 2):
        engine.apply(engine.result(dispatch, answer, retcode=503, temporary=True))
        assert engine.statuses(operation) == ["PENDING"]
        engine.rows("update kser.ready set due_at = now()")
        dispatch, = engine.admit()
    engine.apply(engine.result(dispatch, 3, retcode=503, temporary=True, error="TemporaryFailure"))
    assert (engine.operation(operation)["status"], engine.operation(operation)["retcode"]) == ("FAILED", 503)


@pytest.mark.parametrize("policy, failures, low, high", [
    ({"delay": "10s", "jitter": 0}, 3, 40, 40), ({"delay": "10s", "jitter": 0, "backoff": "fixed"}, 3, 10, 10), ({"delay": "10s", "jitter": 0, "backoff": "linear"}, 3, 30, 30),
    ({"delay": "10s", "jitter": 0, "max_delay": "25s"}, 3, 25, 25), ({"delay": "3000d", "jitter": 0, "max_delay": "3650d"}, 900, 315360000, 315360000), ({"delay": "10s", "jitter": 0.5}, 1, 5, 10), ({}, 900, 48, 60)], ids=str)
def test_delays(engine, policy, failures, low, high):
    for _ in range(20):
        delay = engine.value("select extract(epoch from kser.retry_delay(%s::json, %s, false))", json.dumps({"max_attempts": 1000, **policy}), failures)
        assert low <= delay <= high


def test_a_retry_carries_the_result_so_far(engine, running):
    _, dispatch = running(2, policy={"max_attempts": 2, "delay": 0})
    second, = engine.apply(engine.result(dispatch, 1, stdout="one", retval={"a": 1}))
    engine.apply(engine.result(second, 2, retcode=1))
    again, = engine.admit()
    assert (again["position"], again["attempt"]) == (1, 2)
    assert again["result"] == {"uuid": str(dispatch["uuid"]), "retcode": 0, "stdout": "one", "stderr": "", "retval": {"a": 1}}


# --- Plans


def test_a_plan_is_inserted_right_behind(engine, running):
    operation, dispatch = running([{"entrypoint": "a"}, {"entrypoint": "z"}], policy={"max_attempts": 2})
    old = [t["uuid"] for t in engine.tasks(operation)]
    answer, = engine.apply(engine.result(dispatch, 1, plan=[{"entrypoint": "b", "params": {"n": 1}}, {"entrypoint": "c"}]))
    assert (answer["position"], answer["entrypoint"], answer["params"]) == (1, "b", {"n": 1})
    tasks = engine.tasks(operation)
    assert [t["entrypoint"] for t in tasks] == ["a", "b", "c", "z"] and [t["position"] for t in tasks] == [0, 1, 2, 3]
    assert [tasks[0]["uuid"], tasks[3]["uuid"]] == old and tasks[1]["policy"] == {"max_attempts": 2}


@pytest.mark.parametrize("plan, retcode, message", [([], 1, "Nothing to do, empty operation !"), ([{"entrypoint": ""}], 400, "tasks[0].entrypoint: must have 1 to 255 bytes"),
                                                    ({"a": 1}, 400, "tasks: must be an array, not object")], ids=str)
def test_a_plan_that_cannot_be_inserted_fails_its_task(engine, running, plan, retcode, message):
    operation, dispatch = running(2)
    engine.apply(engine.result(dispatch, 1, plan=plan))
    task = engine.tasks(operation)[0]
    assert (task["status"], task["retcode"]) == ("FAILED", retcode) and message in task["stderr"]
    assert engine.operation(operation)["status"] == "FAILED" and len(engine.tasks(operation)) == 2


def test_a_plan_of_a_result_that_lost_is_not_inserted(engine, running):
    operation, dispatch = running(1)
    engine.apply(engine.result(dispatch, 1))
    engine.apply(engine.result(dispatch, 2, plan=[{"entrypoint": "b"}]))
    assert len(engine.tasks(operation)) == 1


# --- Limits


def test_a_successor_that_does_not_fit_a_record_fails(engine, running):
    operation, dispatch = running([{"entrypoint": "a"}, {"entrypoint": "b", "params": {"t": "x" * 600000}}])
    engine.apply(engine.result(dispatch, 1, bytes=500000))
    assert engine.statuses(operation) == ["SUCCESS", "FAILED"]
    assert (engine.operation(operation)["retcode"], engine.operation(operation)["error"]) == (413, "TooLarge")
    assert "1048576 bytes" in engine.tasks(operation)[1]["stderr"]


def test_what_the_broker_refuses_fails(engine, running):
    operation, dispatch = running(2)
    call = "select kser.undeliverable(%s, %s, %s, %s, %s, 'too large')"
    assert not engine.value(call, operation, 0, dispatch["uuid"], 2, dispatch["generation"])
    assert not engine.value(call, operation, 0, dispatch["uuid"], 1, 5)
    assert engine.value(call, operation, 0, dispatch["uuid"], 1, dispatch["generation"])
    assert engine.operation(operation)["error"] == "Undeliverable" and engine.statuses(operation) == ["FAILED", "PENDING"]


def test_a_large_mixed_batch(engine, running):
    dispatches = []
    for _ in range(200):
        engine.submit("x", 2)
    dispatches = engine.admit(200)
    results = [engine.result(d, i, retcode=i % 3 // 2) for i, d in enumerate(dispatches)]
    answers = engine.apply(*results, *[engine.result(d, 1000 + i) for i, d in enumerate(dispatches[:50])])
    assert len(answers) == 250
    assert sum(a["uuid"] is not None for a in answers) == sum(r["retcode"] == 0 for r in results)
    assert sum(a["verdict"] == "won" for a in answers) == 200 and sum(a["verdict"] == "late" for a in answers) == 50
