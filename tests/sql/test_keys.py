"""Submitting once: many callers with one key, and a server that crashes meanwhile."""

import threading

import psycopg2
import psycopg2.errors
import pytest

from sql.conftest import Engine
from support.waiting import wait_until

MODES = pytest.mark.parametrize("mode", [{}, {"key_for": "1 day"}], ids=["while-active", "for-a-period"])


def at_once(calls):
    """What each call returned or raised; all begin at the same moment."""
    got = []
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        try:
            got.append(call())
        except psycopg2.Error as error:
            got.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@MODES
def test_100_callers_with_two_bodies(engine, user, mode):
    """Whoever is first decides what the key stands for: all with its body get its id, the others are refused, and nothing else is written."""
    sessions = [user() for _ in range(100)]
    got = at_once([lambda s=s, n=i % 2: (n, s.submit("x", 2, key="k", params={"n": n}, **mode)) for i, s in enumerate(sessions)])
    taken = {g for g in got if isinstance(g, tuple)}
    assert len(taken) == 1 and sum(isinstance(g, tuple) for g in got) == 50
    (body, operation), = taken
    refused = [g for g in got if not isinstance(g, tuple)]
    assert all(isinstance(g, psycopg2.errors.UniqueViolation) and str(operation) in str(g) for g in refused)
    assert engine.rows("select id, params from kser.operations") == [{"id": operation, "params": {"n": body}}]
    assert [engine.value(f"select count(*) from kser.{t}") for t in ("tasks", "ready", "keys", "history")] == [2, 1, 1, 0]


@MODES
def test_a_key_survives_a_crash_of_the_server(database, postgres, mode):
    """Submitted and acknowledged; submitted, but the answer never came; not committed: the server dies at once. Whoever asks again gets one operation."""
    sure = Engine(database.connect()).submit("x", 2, key="acknowledged", **mode)
    open_one = Engine(database.connect(autocommit=False))
    lost = open_one.submit("x", 2, key="open", **mode)
    unheard = Engine(database.connect(autocommit=False))
    committed = unheard.submit("x", 2, key="unheard", **mode)
    unheard.connection.commit()
    postgres.crash()
    postgres.start()
    engine = Engine(database.connect())
    assert engine.submit("x", 2, key="acknowledged", **mode) == sure
    assert engine.submit("x", 2, key="unheard", **mode) == committed
    assert engine.submit("x", 2, key="open", **mode) != lost
    assert engine.value("select count(*) from kser.operations") == 3
    with pytest.raises(psycopg2.errors.UniqueViolation):
        engine.submit("x", 3, key="acknowledged", **mode)
    engine.connection.close()


def test_callers_that_call_again_until_they_are_answered(database, postgres):
    """The server is killed while twenty submit with one key: each calls again when its connection breaks. One operation comes out."""
    got, begun = [], threading.Event()

    def caller(number):
        while True:
            try:
                session = Engine(database.connect())
                for _ in range(50):
                    answer = session.submit("x", 2, key="k", params={"n": 1})
                    begun.set()
                    if postgres.crashed:
                        got.append(answer)
                        return
            except psycopg2.Error:
                threading.Event().wait(0.05)

    postgres.crashed = False
    threads = [threading.Thread(target=caller, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    postgres.crash()
    postgres.start()
    postgres.crashed = True
    for thread in threads:
        thread.join()
    wait_until(lambda: len(got) == 20, 30, "all to be answered")
    assert len(set(got)) == 1
    assert database.value("select count(*) from kser.operations") == 1
