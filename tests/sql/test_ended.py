"""Operations that have ended are noted for the export of traces: however they ended, once each, and only while somebody exports."""

import json

import pytest


def taken(engine, at_most=100):
    return engine.rows("select * from kser.take_ended(%s)", at_most)


def first(engine, operation):
    return next(dispatch for dispatch in engine.admit() if dispatch["operation_id"] == operation)


def by_success(engine, operation):
    engine.apply(engine.result(first(engine, operation), 1))


def by_careful_success(engine, operation):
    engine.apply(engine.result(first(engine, operation), 1), careful=True)


def by_failure(engine, operation):
    engine.apply(engine.result(first(engine, operation), 1, retcode=3, error="CommandError", stderr="why"))


def by_cancelling_what_waits(engine, operation):
    engine.value("select kser.cancel(%s)", operation)


def by_cancelling_what_runs(engine, operation):
    dispatch = first(engine, operation)
    engine.value("select kser.cancel(%s)", operation)
    engine.release("w", dispatch, reason="stopped")


def by_its_deadline(engine, operation):
    engine.rows("update kser.operations set deadline_at = clock_timestamp() - interval '1 s' where id = %s", operation)
    engine.value("select kser.overdue()")


def by_its_lost_worker(engine, operation):
    for _ in range(3):
        dispatch = first(engine, operation)
        engine.hold("w", dispatch)
        engine.rows("update kser.claims set renewed_at = renewed_at - interval '1 h'")
        engine.expire()


def by_a_broker_that_refuses_it(engine, operation):
    dispatch = first(engine, operation)
    engine.value("select kser.undeliverable(%s, 0, %s, 1, %s, 'too large')", operation, dispatch["uuid"], dispatch["generation"])


@pytest.mark.parametrize("end, status, error", [
    (by_success, "SUCCESS", None), (by_careful_success, "SUCCESS", None), (by_failure, "FAILED", "CommandError"), (by_cancelling_what_waits, "FAILED", "Cancelled"),
    (by_cancelling_what_runs, "FAILED", "Cancelled"), (by_its_deadline, "FAILED", "Timeout"), (by_its_lost_worker, "FAILED", "WorkerLost"),
    (by_a_broker_that_refuses_it, "FAILED", "Undeliverable")], ids=lambda value: getattr(value, "__name__", value))
def test_ended_in_any_way_it_is_taken_once(engine, end, status, error):
    assert taken(engine) == []
    operation = engine.submit("x", 1, metadata={"traceparent": "00"})
    end(engine, operation)
    row, = taken(engine)
    assert (str(row["operation_id"]), row["name"], row["status"], row["error"]) == (str(operation), "x", status, error)
    assert row["metadata"] == {"traceparent": "00"}
    o = engine.operation(operation)
    assert row["finished_us"] == round(o["finished_at"].timestamp() * 1e6) and row["created_us"] == round(o["created_at"].timestamp() * 1e6)
    assert row["started_us"] == (round(o["started_at"].timestamp() * 1e6) if o["started_at"] else None)
    assert taken(engine) == []


def test_a_successor_that_does_not_fit_ends_it(engine):
    taken(engine)
    operation = engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b", "params": {"text": "x" * 900000}}])
    engine.apply(engine.result(first(engine, operation), 1, bytes=200000))
    assert [row["error"] for row in taken(engine)] == ["TooLarge"]


def test_what_goes_on_is_not_taken(engine):
    taken(engine)
    engine.submit("x", 2)
    engine.submit("x", 1, policy={"max_attempts": 2})
    dispatches = sorted(engine.admit(), key=lambda dispatch: dispatch["operation_id"])
    engine.apply(engine.result(dispatches[0], 1), engine.result(dispatches[1], 2, retcode=1))
    assert taken(engine) == []
    # Nor is it noted when somebody meant to end what has ended before.
    engine.rows("select kser.note_ended(now(), id) from kser.operations")
    assert engine.value("select count(*) from kser.ended_operations") == 0


def test_retried_it_ends_again(engine):
    taken(engine)
    operation = engine.submit("x", 1)
    by_failure(engine, operation)
    assert len(taken(engine)) == 1
    engine.value("select kser.retry(%s)", operation)
    by_success(engine, operation)
    assert [row["status"] for row in taken(engine)] == ["SUCCESS"]


def test_nothing_is_noted_while_nobody_exports(engine):
    by_success(engine, engine.submit("x", 1))
    by_cancelling_what_waits(engine, engine.submit("x", 1))
    assert taken(engine) == []
    engine.rows("update kser.meta set traced_until = clock_timestamp() - interval '1 s'")
    by_success(engine, engine.submit("x", 1))
    assert engine.value("select count(*) from kser.ended_operations") == 0


def test_two_take_different_ones_and_a_rollback_gives_them_back(engine, another):
    taken(engine)
    for _ in range(3):
        by_cancelling_what_waits(engine, engine.submit("x", 1))
    other = another(autocommit=False)
    assert len(taken(other, 2)) == 2
    assert len(taken(engine)) == 1
    other.connection.rollback()
    assert len(taken(engine)) == 2
