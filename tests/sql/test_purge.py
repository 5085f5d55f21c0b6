"""What is deleted when it ended long ago, and what is not; with others at work on the same operations."""

import json
import threading

import psycopg2
import psycopg2.errors
import pytest

from sql.test_verbs import LOCKED, Play
from support.ageing import make_older
from support.waiting import wait_until

TABLES = {"operations": "id", "tasks": "operation_id", "history": "operation_id", "ready": "operation_id", "keys": "operation_id", "claims": "operation_id", "stops": "operation_id"}
STATES = ("pending", "later", "waiting", "other_queue", "running", "second", "claimed", "stopping", "held", "held_running", "held_between", "unended", "success", "failed", "cancelled")


@pytest.fixture
def old(engine):
    """old(state, age="2 h", **options): an operation in one of the states of Play, of long ago."""
    play = Play(engine)

    def make(state, age="2 h", **options):
        if options:
            play.submit = lambda **more: Play.submit(play, **{**options, **more})
        try:
            return make_older(engine.rows, getattr(play, state)(), age)
        finally:
            play.__dict__.pop("submit", None)

    return make


def purge(session, older_than="1 h", after=None, most=1000):
    row, = session.rows("select * from kser.purge(%s, %s, %s)", older_than, after, most)
    return row["deleted"], row["tasks"], row["next"]


def rows_of(engine, operation):
    return {table: engine.rows(f"select * from kser.{table} where {column} = %s order by 1, 2", operation) for table, column in TABLES.items()}


def is_gone(engine, operation):
    return not any(rows_of(engine, operation).values())


def present(engine, *operations):
    return [operation for operation in operations if engine.rows("select 1 from kser.operations where id = %s", operation)]


# --- What is deleted


def test_what_ended_long_ago_is_deleted_and_nothing_else(engine, old):
    made = {state: old(state) for state in STATES}
    young = {state: old(state, age="59 min") for state in ("success", "failed")}
    stay = {state: rows_of(engine, operation) for state, operation in made.items() if state not in ("success", "failed", "cancelled")}
    assert len(stay) == 12 and engine.value("select count(*) from kser.history where operation_id = %s", made["failed"]) > 0
    assert purge(engine) == (3, 6, None)
    assert all(is_gone(engine, made[state]) for state in ("success", "failed", "cancelled"))
    assert {state: rows_of(engine, made[state]) for state in stay} == stay
    assert len(present(engine, *young.values())) == 2
    assert purge(engine) == (0, 0, None)


def test_what_ended_lately_stays_however_old_it_is(engine, old):
    operation = old("success", age="30 days")
    engine.rows("update kser.operations set finished_at = now() - interval '59 min' where id = %s", operation)
    assert purge(engine)[0] == 0
    assert purge(engine, "58 min")[0] == 1


@pytest.mark.parametrize("table", ["claims", "stops"])
def test_what_the_engine_still_needs_stays(engine, old, table):
    """Of an ended operation there is no claim, stop or running task, but by hand; the engine ends those first."""
    operation = old("success")
    if table == "claims":
        engine.rows("insert into kser.claims select operation_id, position, uuid, attempt, 'w', now(), now() from kser.tasks where operation_id = %s and position = 1", operation)
    else:
        engine.rows("insert into kser.stops select operation_id, position, uuid, attempt, '', now(), 'x', 1 from kser.tasks where operation_id = %s and position = 1", operation)
    assert purge(engine)[0] == 0
    engine.rows(f"delete from kser.{table}")
    engine.rows("update kser.tasks set status = 'RUNNING' where operation_id = %s and position = 1", operation)
    assert purge(engine)[0] == 0
    engine.rows("update kser.tasks set status = 'SUCCESS' where operation_id = %s and position = 1", operation)
    assert purge(engine)[0] == 1


def test_an_operation_without_tasks_or_with_a_gap_is_deleted(engine, old):
    """Somebody has deleted some by hand."""
    none, some = old("success"), old("failed")
    engine.rows("delete from kser.tasks where operation_id = %s or operation_id = %s and position = 0", none, some)
    assert purge(engine) == (2, 1, None)


@pytest.mark.parametrize("older_than, most, named", [("-1 s", 10, "older_than"), (None, 10, "older_than"), ("1 h", 0, "most"), ("1 h", 10001, "10000"), ("1 h", None, "most")])
def test_parameters_have_limits(engine, older_than, most, named):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=named):
        engine.rows("select * from kser.purge(%s, null, %s)", older_than, most)


# --- Steps


def test_who_goes_on_does_not_look_again_at_what_stays(engine, old):
    """Two that never end at the left edge: from the place where the first call ended, they are not looked at any more."""
    ids = [old(state, age=f"{20 - n} h") for n, state in enumerate(("held", "later", "success", "failed", "running", "success"))]
    assert purge(engine, most=3) == (1, 2, ids[2])
    deleted, _, after = purge(engine, after=ids[2], most=2)
    assert (deleted, after) == (1, ids[4])
    assert purge(engine, after=after, most=2) == (1, 2, None)
    assert present(engine, *ids) == [ids[0], ids[1], ids[4]]
    engine.rows("update kser.operations set status = 'FAILED', finished_at = now() - interval '2 h' where id = %s", ids[0])
    assert purge(engine, after=ids[0])[0] == 0
    assert purge(engine)[0] == 1


def test_what_is_submitted_later_than_the_horizon_is_not_looked_at(engine, old):
    for _ in range(5):
        engine.submit("x", 1)
    operation = old("success", age="61 min")
    assert purge(engine, most=1) == (1, 2, operation)
    assert purge(engine, after=operation, most=1) == (0, 0, None)


def test_a_step_is_bounded_by_tasks_too(engine):
    ids = []
    for hours in (9, 8, 7):
        operation = engine.submit("x", [{"entrypoint": "a"}] * 6000)
        engine.value("select kser.cancel(%s)", operation)
        ids.append(make_older(engine.rows, operation, f"{hours} h"))
    assert purge(engine) == (2, 12000, ids[1])
    assert purge(engine, after=ids[1]) == (1, 6000, None)


# --- Keys


def test_a_key_for_a_period_outlives_the_deletion_of_its_operation(engine, old):
    """Whoever submits again is answered with the id of what ran, though nothing can be read of it any more; the operation does not run twice."""
    operation = old("success", key="k", key_for="1 day")
    assert purge(engine)[0] == 1
    tasks = [{"entrypoint": "a"}, {"entrypoint": "b"}]
    assert engine.submit("x", tasks, key="k", key_for="1 day") == operation
    with pytest.raises(psycopg2.errors.UniqueViolation, match=str(operation)):
        engine.submit("x", 3, key="k")
    assert engine.value("select count(*) from kser.operations") == 0
    engine.rows("update kser.keys set until = now() - interval '1 s'")
    assert engine.submit("x", 3, key="k") != operation


def test_a_key_while_active_goes_with_its_operation(engine, old, another):
    """It went when the operation ended. One that was left by hand goes, too, but for one that somebody is taking over."""
    operation = old("failed", key="k")
    assert engine.value("select count(*) from kser.keys") == 0
    other = old("success", key="other")
    body = engine.value("select kser.body_hash('{}')")
    for key, id in (("k", operation), ("other", other), ("strange", other)):
        engine.rows("insert into kser.keys values (%s, %s, %s, null)", key, id, body)
    taker = another(autocommit=False)
    taken = taker.submit("x", 1, key="other")
    assert purge(engine)[0] == 2
    taker.connection.commit()
    assert {row["key"]: row["operation_id"] for row in engine.rows("select key, operation_id from kser.keys")} == {"other": taken, "strange": other}


def test_a_key_that_stands_for_another_operation_now_stays(engine, old):
    old("success", key="k")
    now = engine.submit("x", 1, key="k")
    assert purge(engine)[0] == 1
    assert engine.submit("x", 1, key="k") == now


# --- Others at work


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_retry_that_comes_first_goes_on(engine, another, old, state):
    """The verb has the task and the operation, and has not committed: the purge must neither wait for it nor take the rows away."""
    operation, other = old(state), old("success")
    verb = another(autocommit=False)
    assert verb.value("select kser.retry(%s, null, true)", operation) == "retried"
    assert purge(engine) == (1, 2, None) and present(engine, operation, other) == [operation]
    verb.connection.commit()
    assert purge(engine)[0] == 0
    dispatch, = engine.admit()
    assert dispatch["operation_id"] == operation


@pytest.mark.parametrize("many", [False, True])
def test_a_retry_that_comes_later_finds_no_operation(engine, another, user, old, many):
    """It waits for the task that the purge has locked; the one for many waits for nobody."""
    operation = old("failed")
    purging, verb = another(autocommit=False), user()
    assert purge(purging)[0] == 1
    if many:
        assert verb.rows("select answer from kser.retry_many(array[%s])", operation) == [{"answer": "moved"}]
        purging.connection.commit()
        assert verb.rows("select answer from kser.retry_many(array[%s])", operation) == [{"answer": "missing"}]
        return
    got = []

    def retry():
        try:
            got.append(verb.value("select kser.retry(%s)", operation))
        except psycopg2.Error as error:
            got.append(error)

    thread = threading.Thread(target=retry)
    thread.start()
    wait_until(lambda: engine.value(LOCKED) == 1, 30, "the verb to wait")
    purging.connection.commit()
    thread.join()
    assert isinstance(got[0], psycopg2.errors.NoDataFound) and is_gone(engine, operation)


@pytest.mark.parametrize("statement", ["select from kser.tasks where operation_id = %s and position = 0 for update", "select from kser.operations where id = %s for share"])
def test_what_somebody_has_locked_is_left_for_another_time(engine, another, old, statement):
    operation, other = old("success"), old("success")
    holder = another(autocommit=False)
    holder.rows(statement, operation)
    assert purge(engine) == (1, 2, None) and present(engine, operation, other) == [operation]
    assert len(engine.tasks(operation)) == 2
    holder.connection.rollback()
    assert purge(engine) == (1, 2, None)


def test_history_that_somebody_has_locked_is_left_for_another_time(engine, another, old):
    operation = old("failed")
    holder = another(autocommit=False)
    holder.rows("select from kser.history where operation_id = %s for update", operation)
    assert purge(engine) == (1, 2, None) and engine.kinds(operation) == ["failed"]
    holder.connection.rollback()
    assert engine.value("select deleted from kser.purge_history('1 h')") == 1


def test_two_purges_at_once_do_not_wait_for_each_other(engine, another, old):
    first = old("success")
    purging = another(autocommit=False)
    assert purge(purging)[0] == 1
    second = old("success")
    assert purge(engine) == (1, 2, None) and present(engine, first, second) == [first]
    purging.connection.commit()
    assert is_gone(engine, first)


def test_an_operation_that_is_tried_again_after_the_look_stays(engine, another, old):
    """The retry commits between the look, which saw it FAILED, and the locks: what is locked must be looked at once more. The function waits there for this test."""
    operation = old("failed")
    text = engine.value("select pg_get_functiondef('kser.purge(interval, uuid, integer)'::regprocedure)")
    look = "select * into found from purgeable(horizon, after, most);"
    assert look in text
    engine.rows(text.replace("%", "%%").replace(look, look + " perform pg_advisory_lock(1); perform pg_advisory_unlock(1);"))
    gate, purging = another(), another()
    purging.rows("set lock_timeout = 0")
    gate.rows("select pg_advisory_lock(1)")
    got = []
    thread = threading.Thread(target=lambda: got.append(purge(purging)))
    thread.start()
    wait_until(lambda: engine.value("select count(*) from pg_locks where locktype = 'advisory' and not granted") == 1, 30, "the purge to have looked")
    engine.value("select kser.retry(%s)", operation)
    gate.rows("select pg_advisory_unlock(1)")
    thread.join()
    assert got == [(0, 0, None)] and engine.statuses(operation) == ["PENDING", "PENDING"]


# --- What comes late


def test_what_comes_late_for_a_deleted_operation_is_counted(engine, old):
    play = Play(engine)
    operation = play.running()
    dispatch = play.dispatch_of(operation, 0)
    engine.value("select kser.cancel(%s)", operation)
    engine.rows("update kser.stops set asked_at = now() - interval '1 h'")
    engine.rows("select kser.overdue()")
    older = make_older(engine.rows, operation, "2 h")
    dispatch["operation_id"] = older
    assert purge(engine)[0] == 1
    for careful in (False, True):
        assert [(row["verdict"], row["uuid"]) for row in engine.apply(engine.result(dispatch, 7), careful=careful)] == [("unknown", None)]
    assert engine.apply_plain(engine.result(dispatch, 7)) == []
    assert engine.hold("w", dispatch) == [(older, 0)]
    assert engine.release("w", dispatch) == {}
    assert engine.value("select kser.undeliverable(%s, 0, %s, 1, %s, 'x')", older, dispatch["uuid"], dispatch["generation"]) is False
    assert (engine.counter("replies_unknown"), engine.counter("claims_refused"), engine.counter("releases_late")) == (2, 1, 1)
    assert is_gone(engine, older) and engine.admit() == []


def test_what_was_to_start_of_a_deleted_operation_stands_in_nobodys_way(engine, old):
    """A row of `ready` that nothing has taken away when the operation ended; it is due first, and there is one place."""
    operation = old("failed")
    engine.rows("insert into kser.ready values ('', 9, now() - interval '1 h', %s, 0, 1, true), ('', 9, now() - interval '1 h', %s, 0, 1, true)", operation, operation)
    assert purge(engine)[0] == 1
    waiting = engine.submit("x", 1)
    assert engine.admit(1) == [] and engine.admit(1) == []
    dispatch, = engine.admit(1)
    assert dispatch["operation_id"] == waiting and engine.value("select count(*) from kser.ready") == 0


def test_what_recovery_keeps_of_a_deleted_operation_goes(engine, old):
    """By hand only: a claim, a stop and a suspicion whose operation is not there."""
    operation = old("success")
    assert purge(engine)[0] == 1
    engine.rows("insert into kser.claims values (%s, 0, %s, 1, 'w', now() - interval '1 h', now() - interval '1 h')", operation, operation)
    engine.rows("insert into kser.stops values (%s, 0, %s, 1, '', now() - interval '1 h', 'x', 1, null)", operation, operation)
    engine.rows("insert into kser.suspects values (%s, 0, 1, '', now() - interval '1 h')", operation)
    assert engine.expire() == [] and engine.value("select kser.overdue()") == 0
    epoch = engine.value("select epoch from kser.round_begin()")
    engine.rows("select kser.look('', %s, '{1}', '{true}', '{0}', '{1}')", epoch)
    assert engine.rows("select * from kser.lose('', %s, '0')", epoch) == []
    assert [engine.value(f"select count(*) from kser.{table}") for table in ("claims", "stops", "suspects", "history")] == [0, 0, 0, 0]


# --- What else grows


def test_history_without_an_operation_goes_in_steps(engine, old):
    living = old("waiting", age="30 days")
    engine.rows("insert into kser.history (at, kind) select now() - interval '2 h', 'drop' from generate_series(1, 5)")
    engine.rows("insert into kser.history (at, kind, operation_id) values (now() - interval '2 h', 'late', %s)", "01890000-0000-7000-8000-000000000000")
    engine.rows("insert into kser.history (kind) values ('policy'), ('policy')")
    steps, after = [], 0
    while after is not None:
        row, = engine.rows("select * from kser.purge_history('1 h', %s, 3)", after)
        steps.append(row["deleted"])
        after = row["next"]
    assert steps == [2, 3, 1]
    assert [row["kind"] for row in engine.rows("select kind from kser.history order by id")] == ["failed", "policy", "policy"]
    assert engine.kinds(living) == ["failed"]
    assert engine.rows("select * from kser.purge_history('1 h', 0, 3)") == [{"deleted": 0, "next": None}]


def test_workers_and_entrypoints_that_nobody_has_heard_of(engine):
    """An entrypoint is known from the start of a worker; one that a remaining worker serves stays, however long that runs."""
    engine.rows("select kser.seen('lives', %s)", json.dumps({"queue": "q", "entrypoints": [{"name": "a"}]}))
    engine.rows("insert into kser.workers (incarnation, queue, entrypoints, started_at, seen_at) values ('gone', 'q', '{b}', now(), now() - interval '25 h'), ('silent', 'q', '{c}', now(), now() - interval '23 h')")
    engine.rows("insert into kser.entrypoints (queue, name, seen_at) values ('q', 'b', now() - interval '30 d'), ('q', 'c', now() - interval '30 d'), ('', 'a', now() - interval '30 d'), ('q', 'd', now() - interval '23 h')")
    engine.rows("update kser.entrypoints set seen_at = now() - interval '30 d' where name = 'a'")
    assert engine.rows("select * from kser.purge_workers('31 d')") == [{"workers": 0, "entrypoints": 0}]
    assert engine.rows("select * from kser.purge_workers('0')") == [{"workers": 1, "entrypoints": 2}]
    assert {row["incarnation"] for row in engine.rows("select incarnation from kser.workers")} == {"lives", "silent"}
    assert {(row["queue"], row["name"]) for row in engine.rows("select queue, name from kser.entrypoints")} == {("q", "a"), ("q", "c"), ("q", "d")}


def test_the_engine_purges_and_who_steers_does_not(engine, another, old):
    """kser_engine may delete no history but by this; kser_operate leaves the record of what it did."""
    old("failed")
    for role, allowed in (("kser_operate", False), ("kser_engine", True)):
        session = another()
        session.rows(f"set role {role}")
        if allowed:
            assert purge(session) == (1, 2, None)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            session.rows("select kser.purge('1 h')" if not allowed else "delete from kser.history")
