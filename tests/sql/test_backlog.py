"""A queue's backlog has a limit; dead letters are sent again when somebody asks for it."""

import json

import psycopg2
import pytest


def limit(engine, queue, most):
    engine.rows("insert into kser.queues (name, backlog_max) values (%s, %s) on conflict (name) do update set backlog_max = excluded.backlog_max", queue, most)


def test_a_full_queue_refuses(engine):
    limit(engine, "gpu", 2)
    for _ in range(3):
        kept = engine.submit("x", 1, queue="gpu", key="last")
        engine.submit("x", 1, queue="gpu")
    engine.rows("select kser.measure_backlog()")
    assert engine.rows("select backlog, is_full from kser.queues where name = 'gpu'") == [{"backlog": 3, "is_full": True}]
    with pytest.raises(psycopg2.Error) as refused:
        engine.submit("x", [{"entrypoint": "a", "queue": "gpu"}, {"entrypoint": "b"}])
    assert refused.value.pgcode == "53400"
    assert str(refused.value).startswith('queue "gpu": its backlog of 3 waiting tasks is full, the limit is 2')
    with pytest.raises(psycopg2.Error, match="is full"):
        engine.rows("select kser.submit_many(%s)", json.dumps([{"name": "x"}, {"name": "y", "queue": "gpu", "key": "new"}]))
    assert engine.value("select count(*) from kser.keys") == 1 and engine.value("select count(*) from kser.operations") == 4
    engine.submit("x", 1)
    engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b", "queue": "gpu"}])
    assert engine.submit("x", 1, queue="gpu", key="last") == kept, "what is there already needs no place"


def test_it_takes_again_when_it_is_shorter(engine):
    limit(engine, "", 1)
    engine.submit("x", 1)
    engine.submit("x", 1)
    engine.rows("select kser.measure_backlog()")
    engine.admit(1)
    engine.rows("select kser.measure_backlog()")
    assert engine.rows("select backlog, is_full from kser.queues") == [{"backlog": 1, "is_full": False}]
    engine.submit("x", 1)


def test_without_a_limit_nothing_is_full(engine):
    limit(engine, "", 1)
    for _ in range(3):
        engine.submit("x", 1)
    engine.rows("select kser.measure_backlog()")
    limit(engine, "", None)
    engine.rows("select kser.measure_backlog()")
    assert engine.rows("select backlog, is_full from kser.queues") == [{"backlog": 0, "is_full": False}]


def test_an_unchanged_count_writes_nothing(engine):
    engine.submit("x", 1)
    engine.rows("select kser.measure_backlog()")
    before = engine.value("select xmin::text from kser.queues")
    engine.rows("select kser.measure_backlog()")
    assert engine.value("select xmin::text from kser.queues") == before


def test_dead_letters_are_sent_again(engine):
    for offset in range(4):
        engine.rows("select kser.bury('t', 0, %s, 'why', %s, null)", offset, b"x" * (100000 if offset == 3 else 5))
    assert engine.rows("select * from kser.take_redrive(10)") == []
    engine.rows("update kser.dead_letters set redrive_at = now() where kafka_offset > 0")
    taken = engine.rows("select * from kser.take_redrive(10)")
    assert [(r["topic"], bytes(r["bytes"])) for r in taken] == [("t", b"xxxxx")] * 2, "of one not all bytes were kept"
    assert len(engine.rows("select * from kser.take_redrive(1)")) == 1
    assert engine.value("select kser.redriven(%s)", [r["id"] for r in taken]) == 2
    assert [r["kafka_offset"] for r in engine.rows("select kafka_offset from kser.dead_letters order by id")] == [0, 3]
