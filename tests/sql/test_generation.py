"""Generations: after a restore from a backup the lost future's messages change nothing, and what ran is started again."""

import threading

import psycopg2
import pytest

from support.waiting import wait_until


def test_a_new_generation_starts_everything_anew(engine, running):
    claimed, first = running(2)
    engine.hold("w1", first)
    unclaimed, second = running(2)
    third, = engine.apply(engine.result(second, 1))
    waiting = engine.submit("x", 1)
    old = engine.value("select generation from kser.meta")
    engine.rows("insert into kser.suspects values (%s, 1, 1, '', now())", unclaimed)
    engine.rows("select kser.sample('', 1, 1, '{1}')")
    engine.rows("select kser.look('', 1, '{1}', '{t}', '{0}', '{1}')")
    new = engine.value("select kser.new_generation('restored from monday')")
    assert new != old and new == engine.value("select generation from kser.meta")
    for table in ("claims", "suspects", "samples", "proofs", "stops"):
        assert engine.value(f"select count(*) from kser.{table}") == 0, table
    assert engine.statuses(claimed) == ["PENDING", "PENDING"] and engine.statuses(unclaimed) == ["SUCCESS", "PENDING"]
    assert {a["verdict"] for a in engine.apply(engine.result(first, 3), engine.result(third, 4))} == {"stale"}
    assert engine.hold("w1", first) == [(claimed, 0)]
    dispatches = {d["operation_id"]: d for d in engine.admit()}
    assert set(dispatches) == {claimed, unclaimed, waiting}
    assert [(dispatches[o]["position"], dispatches[o]["attempt"], dispatches[o]["generation"]) for o in (claimed, unclaimed)] == [(0, 2, new), (1, 2, new)]
    row, = engine.rows("select * from kser.history where kind = 'generation'")
    assert row["reason"] == "restored from monday" and row["actor"] == engine.value("select session_user")


def test_what_went_missing_is_due_again(engine, running):
    """An operation whose task neither runs nor waits (the backup, a halt): it goes on. What waits for its time waits on."""
    operation, dispatch = running(2)
    engine.rows("select kser.halt('set back')")
    assert engine.apply(engine.result(dispatch, 1))[0]["uuid"] is None
    backing_off = engine.submit("x", 1, policy={"max_attempts": 2, "delay": "1h"})
    engine.rows("update kser.meta set halted = null")
    engine.apply(engine.result(engine.admit()[0], 2, retcode=1))
    held, _ = running(1)
    engine.rows("select kser.pause(%s)", held)
    engine.rows("select kser.new_generation('x')")
    assert [(d["operation_id"], d["position"]) for d in engine.admit()] == [(operation, 1)]
    assert engine.value("select count(*) from kser.ready where operation_id = %s", backing_off) == 1
    engine.rows("select kser.resume(%s)", held)
    assert [d["operation_id"] for d in engine.admit()] == [held]


def test_nothing_starts_while_halted(engine, running):
    operation, dispatch = running(3)
    failing, second = running(2, policy={"max_attempts": 2, "delay": 0})
    elsewhere, third = running([{"entrypoint": "a"}, {"entrypoint": "b", "queue": "gpu"}])
    last, fourth = running(1)
    engine.submit("x", 1)
    engine.rows("select kser.halt('an epoch that is not yet')")
    engine.rows("select kser.halt('again')")
    assert engine.value("select halted from kser.meta") == "an epoch that is not yet"
    answers = engine.apply(engine.result(dispatch, 1), engine.result(second, 2, retcode=1), engine.result(third, 3), engine.result(fourth, 4))
    assert [(a["verdict"], a["uuid"], a["freed"]) for a in answers] == [("won", None, "")] * 4
    assert engine.admit() == [] and engine.admit(queue="gpu") == []
    assert engine.statuses(operation) == ["SUCCESS", "PENDING", "PENDING"] and engine.operation(operation)["status"] == "RUNNING"
    assert engine.operation(last)["status"] == "SUCCESS"
    assert engine.apply(engine.result(dispatch, 1))[0]["uuid"] is None, "nor is anything given again"
    engine.rows("select kser.new_generation('x')")
    assert engine.value("select halted from kser.meta") is None
    assert {d["operation_id"] for d in engine.admit()} >= {operation, failing} and [d["operation_id"] for d in engine.admit(queue="gpu")] == [elsewhere]
    assert engine.value("select count(*) from kser.history where kind = 'halted'") == 1


# Of several lanes that find such a reply one may be late, and the operator quick.
def test_a_halt_of_another_generation_is_too_late(engine):
    before = engine.value("select generation from kser.meta")
    after = engine.value("select kser.new_generation('x')")
    engine.rows("select kser.halt('late', %s)", before)
    assert engine.value("select halted from kser.meta") is None and engine.value("select count(*) from kser.history where kind = 'halted'") == 0
    engine.rows("select kser.halt('in time', %s)", after)
    assert engine.value("select halted from kser.meta") == "in time"


def test_the_same_server_is_known(engine):
    before = engine.rows("select * from kser.meta")
    assert engine.value("select kser.check_identity()") is False
    assert engine.rows("select * from kser.meta") == before


@pytest.mark.parametrize("change", ["timeline = timeline + 1", "system_identifier = system_identifier + 1"])
def test_another_server_makes_a_new_generation(engine, running, change):
    operation, _ = running(1)
    old = engine.value("select generation from kser.meta")
    engine.rows("update kser.meta set " + change)
    assert engine.value("select kser.check_identity()") is True
    assert engine.value("select generation from kser.meta") != old and engine.statuses(operation) == ["PENDING"]
    assert engine.value("select kser.check_identity()") is False
    assert "the server is another one" in engine.value("select reason from kser.history where kind = 'generation'")


def test_a_failover_that_loses_nothing_is_only_noted(engine, running):
    operation, _ = running(1)
    engine.rows("update kser.meta set synchronous_failover = true, timeline = timeline + 1")
    old = engine.value("select generation from kser.meta")
    assert engine.value("select kser.check_identity()") is False
    assert engine.value("select generation from kser.meta") == old and engine.statuses(operation) == ["RUNNING"]
    engine.rows("update kser.meta set system_identifier = 1")
    assert engine.value("select kser.check_identity()") is True, "a restored copy is no standby"


def test_several_that_connect_at_once_make_one_generation(engine, another):
    """Both have seen the difference before either has changed anything."""
    engine.rows("update kser.meta set timeline = timeline + 1")
    first = another(autocommit=False)
    second = another()
    second.rows("set lock_timeout = '10s'")
    assert first.value("select kser.check_identity()") is True
    answers = []
    thread = threading.Thread(target=lambda: answers.append(second.value("select kser.check_identity()")))
    thread.start()
    wait_until(lambda: engine.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"), 10, "the second to wait")
    first.connection.commit()
    thread.join()
    assert answers == [False] and engine.value("select count(*) from kser.history where kind = 'generation'") == 1


def test_it_waits_for_a_result_and_looks_again(engine, another, user, running):
    """A result is being applied by the old generation: the task that is running after it is the successor."""
    operation, dispatch = running(3)
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    admin = user()
    thread = threading.Thread(target=lambda: admin.rows("select kser.new_generation('x')"))
    thread.start()
    wait_until(lambda: engine.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"), 10, "the operator to wait")
    lane.connection.commit()
    thread.join()
    assert engine.statuses(operation) == ["SUCCESS", "PENDING", "PENDING"]
    assert [(d["position"], d["attempt"]) for d in engine.admit()] == [(1, 2)]


def test_two_restores_have_two_generations(engine):
    drawn = {engine.value("select kser.new_generation('x')") for _ in range(20)}
    assert len(drawn) == 20


def test_who_may(engine, user):
    for role, may in (("kser_operate", True), ("kser_read", False), ("kser_submit", False)):
        session = user()
        session.rows(f"set role {role}")
        if may:
            session.value("select kser.new_generation('x')")
        else:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                session.value("select kser.new_generation('x')")
    session = user()
    session.rows("set role kser_engine")
    session.rows("update kser.meta set timeline = timeline + 1")
    assert session.value("select kser.check_identity()") is True


def test_a_database_belongs_to_the_topics_of_its_first_orchestrator(engine):
    assert engine.value("select kser.take_topics('kser')") == "kser"
    assert engine.value("select kser.take_topics('other')") == "kser"
    engine.beat("00000000-0000-0000-0000-000000000001")
    engine.rows("select kser.new_generation('its orchestrator is still there')")
    assert engine.value("select kser.take_topics('other')") == "kser"
    engine.rows("delete from kser.instances")
    engine.rows("select kser.new_generation('moved to other topics')")
    assert engine.value("select kser.take_topics('other')") == "other"
