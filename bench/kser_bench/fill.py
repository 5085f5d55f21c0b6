"""Rows that stand in the tables while something else is measured, made by plain SQL."""

from kser_bench.figures import say
from kser_bench.rounds import STEPS
from kser_bench.stand import ROOT

CHUNK = 20000
NEVER = "2999-01-01"
FULLER = 40  # of tasks, for what is filled in: rows that ran have grown since their insert, so new ones find no room beside them


def fill(stand, name, start, end, **parameters):
    """Operations number `start` (from 0) to `end`, exclusive, by bench/fill_NAME.sql, and the tables vacuumed as they are after a while."""
    statement = (ROOT / "bench" / f"fill_{name}.sql").read_text()
    usual = stand.value("select substring(o from '\\d+') from pg_class c, unnest(c.reloptions) as o where c.oid = 'kser.tasks'::regclass and o like 'fillfactor=%'")
    with stand.connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = off")
        cursor.execute(f"alter table kser.tasks set (fillfactor = {FULLER})")
        for first in range(start, end, CHUNK):
            cursor.execute(statement, {"first": first + 1, "last": min(first + CHUNK, end), **parameters})
        cursor.execute(f"alter table kser.tasks set (fillfactor = {usual})")
        cursor.execute("reset synchronous_commit")
        cursor.execute("vacuum analyze kser.operations, kser.tasks, kser.ready")
    say(f"S4: {end:,} operations in the tables")


def fill_waiting(stand, start, end):
    """Scheduled for the far future, one task each."""
    stand.rows("update kser.queues set backlog_max = null")
    fill(stand, "waiting", start, end, due_at=NEVER, steps=1)


def fill_due(stand, operations):
    """Due now, as many steps as a round's operations have."""
    stand.rows("update kser.queues set backlog_max = null")
    fill(stand, "waiting", 0, operations, due_at="2000-01-01", steps=STEPS)


def fill_history(stand, start, end):
    """Ended, ten tasks each."""
    fill(stand, "history", start, end)
