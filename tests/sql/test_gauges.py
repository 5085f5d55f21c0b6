"""What the keeper reads for its metrics."""

from pathlib import Path

STATEMENT = (Path(__file__).resolve().parents[2] / "sql" / "statements" / "gauges.sql").read_text()


def gauges(engine):
    return {row.pop("queue"): row for row in engine.rows(STATEMENT)}


def due(engine, operation, ago):
    engine.rows("update kser.ready set due_at = now() - %s::interval where operation_id = %s", ago, operation)


def test_of_an_empty_installation(engine):
    assert gauges(engine) == {"": {"oldest_due": 0, "backlog": 0, "running": 0, "workers": 0, "claims": 0, "dead": 0}}


def test_the_oldest_due_of_all_priorities_counts(engine):
    for priority, ago in ((5, "10 s"), (5, "20 s"), (0, "-1 hour"), (-3, "60 s"), (-9, "30 s")):
        due(engine, engine.submit("x", 1, priority=priority), ago)
    due(engine, engine.submit("x", 1, queue="gpu"), "-1 hour")
    engine.rows("select kser.window_free()")
    found = gauges(engine)
    assert 60000 <= found[""]["oldest_due"] < 80000
    assert found["gpu"]["oldest_due"] == 0


def test_counts_are_by_queue(engine):
    engine.submit("x", 1, queue="gpu")
    for _ in range(3):
        engine.submit("x", 1)
    engine.rows("select kser.window_free()")
    engine.admit(2)
    engine.rows("select kser.measure_backlog()")
    engine.rows("insert into kser.workers (incarnation, queue, started_at, seen_at, left_at) values ('a', '', now(), now(), null), ('b', 'gpu', now(), now(), null),"
                " ('gone', '', now(), now(), now()), ('silent', '', now(), now() - interval '1 minute', null)")
    engine.rows("select kser.bury('t', 0, 0, 'why', '', null)")
    found = gauges(engine)
    assert {queue: (row["backlog"], row["running"], row["workers"], row["dead"]) for queue, row in found.items()} == {"": (1, 2, 1, 1), "gpu": (1, 0, 1, 1)}


def test_what_waits_is_not_read(engine):
    """By the index, one row for each priority: else a long backlog would cost a scan every few seconds."""
    engine.rows("insert into kser.ready select '', i %% 3, now(), kser.uuid_v7(), 0, 0, false from generate_series(1, 20000) as i")
    engine.rows("analyze kser.ready")
    plan = "\n".join(row["QUERY PLAN"] for row in engine.rows("explain (analyze, costs off, timing off) " + STATEMENT))
    assert "Seq Scan on ready" not in plan
    rows = [int(line.split("rows=")[1].split()[0]) for line in plan.splitlines() if " on ready" in line and "rows=" in line]
    assert rows and max(rows) <= 1, plan
