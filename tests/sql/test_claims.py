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


def test_not_before_the_lease_after_a_common_renewal(engine, running):
    """The keeper is new, or a round could not be completed: `since` counts as a renewal of all."""
    _, dispatch = running(1)
    engine.hold("w1", dispatch)
    age(engine, 100)
    now = engine.value("select clock_timestamp()")
    assert engine.expire(since=now) == []
    assert engine.expire(since="2999-01-01") == [], "times in the future are cut"
    assert len(engine.expire()) == 1


def test_a_renewal_in_the_future_is_cut_to_now(engine, running):
    """The clock was set back by an hour: the claim must not live on for that hour."""
    _, dispatch = running(1)
    engine.hold("w1", dispatch)
    age(engine, -3600)
    assert engine.expire() == []
    assert engine.value("select renewed_at <= clock_timestamp() from kser.claims")
    age(engine, 9)
    assert len(engine.expire()) == 1


def test_a_task_that_takes_three_workers_with_it_fails(engine, running):
    operation, dispatch = running(2)
    for flags in (0, 1, 3):
        assert dispatch["flags"] == flags
        engine.hold("w", dispatch)
        age(engine, 9)
        assert len(engine.expire()) == 1
        dispatch = next(iter(engine.admit()), None)
    assert dispatch is None
    row = engine.operation(operation)
    assert (row["status"], row["error"], row["retcode"]) == ("FAILED", "WorkerLost", 500)
    assert engine.statuses(operation) == ["FAILED", "PENDING"] and engine.kinds(operation) == ["expired", "expired", "expired", "failed"]


def test_a_claim_past_its_deadline_is_a_timeout(engine, running):
    """The worker renews its claim and does not end the task: the limit holds all the same, and the policy decides on a retry."""
    operation, dispatch = running(1, policy={"timeout": "10s", "max_attempts": 2, "delay": 0})
    engine.hold("w1", dispatch)
    engine.rows("update kser.claims set deadline_at = clock_timestamp() - interval '1 s'")
    assert len(engine.expire()) == 1
    task = engine.tasks(operation)[0]
    assert (task["status"], task["failures"], task["crashes"], task["error"]) == ("PENDING", 1, None, "Timeout")
    dispatch, = engine.admit()
    assert dispatch["flags"] == 0
    engine.hold("w1", dispatch)
    engine.rows("update kser.claims set deadline_at = clock_timestamp() - interval '1 s'")
    engine.expire()
    assert (engine.operation(operation)["error"], engine.operation(operation)["retcode"]) == ("Timeout", 504)


def test_a_claim_of_a_deleted_operation_goes(engine, running):
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    engine.rows("delete from kser.tasks where operation_id = %s", operation)
    age(engine, 9)
    assert engine.expire() == [] and engine.value("select count(*) from kser.claims") == 0


def test_expired_while_held_waits_for_the_resume(engine, running):
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    engine.rows("select kser.pause(%s)", operation)
    age(engine, 9)
    assert len(engine.expire()) == 1 and engine.admit() == []
    engine.rows("select kser.resume(%s)", operation)
    assert engine.admit()[0]["attempt"] == 2


def test_the_sweeper_looks_again_under_the_lock(engine, another, running):
    """A result is being applied: its transaction has the task's row. The sweeper leaves it, and finds nothing later."""
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    age(engine, 9)
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    assert engine.expire() == []
    lane.connection.commit()
    assert engine.expire() == [] and engine.statuses(operation) == ["SUCCESS"]


def test_a_heartbeat_in_time_beats_the_sweeper(engine, another, running):
    """The sweeper waits for the claim's row, which a heartbeat has: it must look at the renewal, not at what it saw before."""
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    age(engine, 9)
    engine.rows("set lock_timeout = '10s'")
    lane = another(autocommit=False)
    assert lane.hold("w1", dispatch) == []
    expired = []
    thread = threading.Thread(target=lambda: expired.extend(engine.expire()))
    thread.start()
    watcher = another()
    wait_until(lambda: watcher.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"), 10, "the sweeper to wait")
    lane.connection.commit()
    thread.join()
    assert expired == [] and watcher.statuses(operation) == ["RUNNING"] and watcher.value("select count(*) from kser.claims") == 1


def test_a_claim_waits_for_a_result_and_is_refused(engine, another, running):
    """Result first, claim second, in two sessions: the claim sees the task as the result left it."""
    operation, dispatch = running(1)
    lane = another(autocommit=False)
    lane.apply(lane.result(dispatch, 1))
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        engine.hold("w1", dispatch)
    lane.connection.commit()
    assert engine.hold("w1", dispatch) == [(operation, 0)] and engine.value("select count(*) from kser.claims") == 0


def test_two_incarnations_at_once_have_one_claim(engine, another, running):
    operation, dispatch = running(1)
    first = another(autocommit=False)
    engine.rows("set lock_timeout = '10s'")
    first.hold("w1", dispatch)
    stops = []
    thread = threading.Thread(target=lambda: stops.extend(engine.hold("w2", dispatch)))
    thread.start()
    watcher = another()
    wait_until(lambda: watcher.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"), 10, "the second to wait")
    first.connection.commit()
    thread.join()
    assert stops == [(operation, 0)] and watcher.value("select worker from kser.claims") == "w1"


def test_a_heartbeat_of_many_in_any_order(engine):
    operations = [engine.submit("x", 1) for _ in range(30)]
    dispatches = engine.admit()
    assert engine.hold("w1", *dispatches[::-1], *dispatches[:5]) == []
    assert engine.value("select count(*) from kser.claims") == 30
    engine.apply(*[engine.result(d, i) for i, d in enumerate(dispatches[:10])])
    assert set(engine.hold("w1", *dispatches)) == {(d["operation_id"], 0) for d in dispatches[:10]}
    assert set(d["operation_id"] for d in dispatches) == set(operations)


@pytest.mark.parametrize("names", ["null", "{}", "[1]", "[null]", "[{}]", '[{"uuid": 1, "op": [], "pos": {}, "attempt": "x", "gen": 1e400}]',
                                   '[{"uuid": "x", "op": "y", "pos": 99999999999, "attempt": 1, "gen": 99999999999999999999}]'])
def test_strange_names_are_left_out(engine, names):
    assert engine.rows("select * from kser.hold('w', %s, '8s')", names) == [] and engine.rows("select * from kser.release('w', %s)", names) == []


def test_claimed_tasks_take_no_place_in_the_window(engine, running):
    _, dispatch = running(1)
    assert engine.value("select free from kser.window_free()") == 1999
    engine.hold("w1", dispatch)
    assert engine.value("select free from kser.window_free()") == 2000
    engine.rows("update kser.operations set held = true")
    assert engine.value("select free from kser.window_free()") == 2000


def test_what_is_wanted_stopped_is_told_with_each_heartbeat(engine, running):
    operation, dispatch = running(1)
    engine.hold("w1", dispatch)
    engine.stop(dispatch)
    assert engine.hold("w1", dispatch) == [(operation, 0)] and engine.counter("claims_refused") == 0


def test_full_and_spare_workers(engine):
    def seen(worker, free, partitions, waiting=0, **others):
        engine.rows("select kser.seen(%s, %s)", worker, json.dumps({"slots": 4, "free": free, "waiting": waiting, "claims": 0, "partitions": partitions, **others}))

    def look():
        row, = engine.rows("select full_partitions, spare from kser.window_free()")
        return row["full_partitions"], row["spare"]

    assert look() == ([], 0)
    seen("w1", 0, [0, 1, 2], waiting=5)
    assert look() == ([], 0), "nobody else has a free slot"
    seen("w2", 3, [3, 2])
    assert look() == ([0, 1], 3)
    seen("w1", 0, [0, 1, 2])
    assert look() == ([0, 1], 0), "nothing waits"
    seen("w3", 4, [5], waiting=1, queue="other")
    assert look() == ([0, 1], 0), "another queue"
    engine.rows("update kser.workers set seen_at = seen_at - interval '26 s' where incarnation = 'w2'")
    assert look() == ([], 0)
    seen("w2", 3, [3], leaving=True)
    assert look() == ([], 0)
