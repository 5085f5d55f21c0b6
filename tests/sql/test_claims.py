"""Claims: kser.hold, kser.release, kser.expire. Long tasks belong to their worker while it names them."""

import json
import threading

import psycopg2.errors
import pytest

from support.waiting import wait_until


def age(engine, seconds):
    """All claims were last renewed so long ago."""
    engine.rows("update kser.claims set renewed_at = clock_timestamp() - make_interval(secs => %s)", seconds)


def test_a_claim_is_held_and_renewed(engine, running):
    operation, dispatch = running(2, policy={"timeout": "60s"})
    assert engine.hold("w1", dispatch) == []
    claim, = engine.rows("select *, deadline_at - claimed_at as limit from kser.claims")
    assert (claim["operation_id"], claim["worker"], claim["attempt"], claim["limit"].total_seconds()) == (operation, "w1", 1, 65)
    age(engine, 5)
    assert engine.hold("w1", dispatch) == []
    again, = engine.rows("select * from kser.claims")
    assert again["renewed_at"] > claim["renewed_at"] and again["claimed_at"] == claim["claimed_at"]
    assert engine.counter("claims_refused") == 0


def test_what_is_not_current_is_told_to_stop(engine, running):
    operation, dispatch = running(1)
    for wrong in ({"attempt": 2}, {"attempt": 0}, {"generation": 5}, {"position": 3}, {"uuid": "00000000-0000-4000-8000-000000000000"}):
        assert len(engine.hold("w1", {**dispatch, **wrong})) == 1, wrong
    assert engine.counter("claims_refused") == 5
    assert engine.value("select count(*) from kser.claims") == 0
    engine.apply(engine.result(dispatch, 1))
    assert engine.hold("w1", dispatch) == [(operation, 0)]


def test_another_incarnations_claim_stands(engine, running):
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    age(engine, 100)
    assert engine.hold("w2", dispatch) == [(operation, 0)]
    assert engine.release("w2", dispatch, reason="stopped") == {} and engine.statuses(operation) == ["RUNNING"]
    assert engine.hold("w1", dispatch) == []


def test_a_result_takes_the_claim_with_it(engine, running):
    _, dispatch = running(2)
    engine.hold("w1", dispatch)
    engine.apply(engine.result(dispatch, 1))
    assert engine.value("select count(*) from kser.claims") == 0


@pytest.mark.parametrize("reason, seconds", [("unstarted", 0), ("busy", 5), ("stopped", 0)])
def test_a_release_puts_the_task_back(engine, running, reason, seconds):
    operation, dispatch = running(2)
    assert engine.release("w1", dispatch, reason=reason) == {"": 1}
    task = engine.tasks(operation)[0]
    assert (task["status"], task["attempt"], task["failures"]) == ("PENDING", 1, 0)
    assert round(engine.value("select extract(epoch from due_at - clock_timestamp()) from kser.ready")) == seconds
    assert engine.kinds(operation) == ["released"]
    engine.rows("update kser.ready set due_at = now()")
    assert engine.admit()[0]["attempt"] == 2
    assert engine.release("w1", dispatch) == {} and engine.counter("releases_late") == 1


def test_a_claimed_task_that_is_released_frees_no_place(engine, running):
    operation, dispatch = running(2)
    engine.hold("w1", dispatch)
    assert engine.release("w1", dispatch, reason="stopped") == {}
    assert engine.statuses(operation) == ["PENDING", "PENDING"] and engine.value("select count(*) from kser.claims") == 0


def test_a_silent_workers_task_is_started_again(engine, running):
    operation, dispatch = running(2)
    engine.hold("w1", dispatch)
    age(engine, 7)
    assert engine.expire() == []
    age(engine, 9)
    assert [(r["operation_id"], r["position"], r["attempt"], r["worker"]) for r in engine.expire()] == [(operation, 0, 1, "w1")]
    task = engine.tasks(operation)[0]
    assert (task["status"], task["attempt"], task["failures"], task["crashes"]) == ("PENDING", 1, 0, 1)
    assert engine.kinds(operation) == ["expired"]
    again, = engine.admit()
    assert (again["attempt"], again["flags"]) == (2, 1)
    assert engine.hold("w1", dispatch) == [(operation, 0)]
