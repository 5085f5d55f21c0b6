"""kser.admit and kser.window_free: what may start, in which order, and how much at once."""

import json
import re
from pathlib import Path

import pytest

from support.waiting import wait_until

WINDOW_FREE = (Path(__file__).resolve().parents[2] / "sql" / "statements" / "window_free.sql").read_text()


def positions(rows):
    return [(row["operation_id"], row["position"]) for row in rows]


def test_moves_the_first_task_to_running_once(engine):
    operation = engine.submit("x", 3)
    dispatch, = engine.admit()
    assert (dispatch["operation_id"], dispatch["position"], dispatch["attempt"], dispatch["entrypoint"], dispatch["params"]) == (operation, 0, 1, "step0", {"i": 0})
    assert dispatch["generation"] == engine.value("select generation from kser.meta") and dispatch["result"] is None
    assert engine.admit() == []
    assert engine.operation(operation)["status"] == "RUNNING"
    task = engine.tasks(operation)[0]
    assert (task["status"], task["attempt"], task["epoch"], task["partition"]) == ("RUNNING", 1, dispatch["epoch"], dispatch["partition"])
    assert engine.statuses(operation)[1:] == ["PENDING", "PENDING"]


def test_order_is_priority_then_age_and_never_more_than_places(engine):
    low = engine.submit("x", 1, priority=-5)
    first = engine.submit("x", 1)
    second = engine.submit("x", 1)
    high = engine.submit("x", 1, priority=10)
    assert [d["operation_id"] for d in engine.admit(1)] == [high]
    assert {d["operation_id"] for d in engine.admit(2)} == {first, second}
    assert [d["operation_id"] for d in engine.admit(2)] == [low]


def test_nothing_starts_before_its_time(engine):
    later = engine.submit("x", 1, start_at="2999-01-01", priority=10)
    now = engine.submit("x", 1)
    assert [d["operation_id"] for d in engine.admit()] == [now]
    engine.rows("update kser.ready set due_at = now()")
    assert [d["operation_id"] for d in engine.admit()] == [later]


def test_queues_are_apart(engine):
    gpu = engine.submit("x", 1, queue="gpu")
    assert engine.admit() == []
    assert [d["operation_id"] for d in engine.admit(queue="gpu")] == [gpu]


def test_a_held_operation_does_not_start(engine):
    engine.rows("update kser.operations set held = true where id = %s", engine.submit("x", 1))
    assert engine.admit() == []
    assert engine.value("select count(*) from kser.ready") == 0


def test_a_ready_row_of_another_attempt_is_only_deleted(engine):
    engine.submit("x", 1)
    engine.rows("update kser.ready set attempt = 1")
    assert engine.admit() == []
    assert engine.value("select count(*) from kser.ready") == 0


def test_two_at_once_share_and_never_wait(engine, another):
    """The first holds its rows in an open transaction: the second must get the others at once, and none of them twice."""
    for _ in range(4):
        engine.submit("x", 1)
    first = another(autocommit=False)
    mine = positions(first.admit(2))
    theirs = positions(engine.admit(10))
    first.connection.commit()
    assert len(mine) == 2 and len(theirs) == 2 and not set(mine) & set(theirs)
    assert engine.admit() == []


def test_a_task_locked_by_somebody_is_left_for_later(engine, another):
    operation = engine.submit("x", 1)
    holder = another(autocommit=False)
    holder.rows("select from kser.tasks where operation_id = %s for update", operation)
    assert engine.admit() == []
    holder.connection.rollback()
    assert len(engine.admit()) == 1


def test_carries_metadata_deadline_and_limit(engine):
    engine.submit("x", [{"entrypoint": "e", "metadata": {"own": 1}}], metadata={"own": 0, "trace": "t"}, deadline="1h", policy={"timeout": "90s"})
    dispatch, = engine.admit()
    assert dispatch["metadata"] == {"own": 1, "trace": "t"}
    assert dispatch["limit_ms"] == 90000 and dispatch["deadline_ms"] == engine.value("select kser.unix_ms(deadline_at) from kser.operations")


def test_window_counts_what_runs(engine):
    def free():
        return {row["queue"]: row["free"] for row in engine.rows("select * from kser.window_free()")}

    operations = [engine.submit("x", 2) for _ in range(3)]
    assert free() == {"": 2000}
    dispatches = engine.admit()
    assert free() == {"": 1997}
    engine.apply(*[engine.result(d, i) for i, d in enumerate(dispatches)])
    assert free() == {"": 1997}
    engine.rows("update kser.operations set held = true where id = %s", operations[0])
    assert free() == {"": 1998}


def test_the_keeper_is_told_of_a_queue_that_is_new(engine):
    engine.submit("x", [{"entrypoint": "a", "queue": "gpu"}])
    told = [{r["queue"]: (r["free"], r["window_size"]) for r in engine.rows(WINDOW_FREE)} for _ in range(2)]
    assert [one["gpu"] for one in told] == [(2000, 0), (2000, 2000)] and told[0][""] == (2000, 2000)


def test_a_task_that_backs_off_holds_no_place(engine):
    engine.submit("x", 1, policy={"max_attempts": 2, "delay": "1h"})
    engine.apply(engine.result(engine.admit()[0], 1, retcode=1))
    assert engine.value("select free from kser.window_free()") == 2000


def test_a_successor_in_another_queue_moves_to_that_window(engine):
    operation = engine.submit("x", [{"entrypoint": "a"}, {"entrypoint": "b", "queue": "gpu"}, {"entrypoint": "c"}])
    answer, = engine.apply(engine.result(engine.admit()[0], 1, stdout="one", retval={"k": 1}))
    assert answer["uuid"] is None and answer["freed"] == ""
    assert {r["queue"] for r in engine.rows("select * from kser.window_free()")} == {"", "gpu"}
    dispatch, = engine.admit(queue="gpu")
    assert (dispatch["position"], dispatch["result"]["stdout"], dispatch["result"]["retval"]) == (1, "one", {"k": 1})
    assert {r["queue"]: r["free"] for r in engine.rows("select * from kser.window_free()")} == {"": 2000, "gpu": 1999}
    engine.apply(engine.result(dispatch, 2))
    dispatch, = engine.admit()
    engine.apply(engine.result(dispatch, 3))
    assert engine.operation(operation)["status"] == "SUCCESS"


def test_a_thousand_at_once(engine):
    engine.rows("select kser.submit_many(%s)", json.dumps([{"name": "x"}] * 1000))
    assert len(engine.admit(999)) == 999 and len(engine.admit(999)) == 1


def test_tells_how_long_a_task_has_waited(engine):
    at_once = engine.submit("x", 1)
    late = engine.submit("x", 1)
    engine.rows("update kser.ready set due_at = now() - interval '90 s' where operation_id = %s", late)
    waited = {dispatch["operation_id"]: dispatch["waited_ms"] for dispatch in engine.admit()}
    assert waited[late] >= 90000 > waited[at_once] >= 0


def pages(engine):
    """How many pages of the cache one look for what is due takes."""
    plan = "\n".join(row["QUERY PLAN"] for row in engine.rows("explain (analyze, buffers) select kser.due('', clock_timestamp(), 100)"))
    return int(re.search(r"Buffers: shared hit=(\d+)", plan)[1])


@pytest.fixture
def pinned(engine, kept_snapshot):
    """A snapshot from before 100,000 rows that are deleted since: they cannot be cleaned up. Its session."""
    engine.rows("""insert into kser.ready (queue, priority, due_at, operation_id, position, attempt, started)
        select '', 0, now() - interval '1 min' + i * interval '1 us', kser.uuid_v7(), 0, 0, false from generate_series(1, 100000) as i""")
    engine.rows("delete from kser.ready")
    engine.rows("select pg_stat_force_next_flush()")
    return kept_snapshot


def test_a_kept_snapshot_does_not_make_each_look_dear(engine, pinned):
    waiting = engine.submit("x", 1)
    first, second = pages(engine), pages(engine)
    assert first > 500 and second < first / 10, (first, second)
    assert [d["operation_id"] for d in engine.admit()] == [waiting]
    again = engine.submit("x", 1)
    assert pages(engine) < first / 10
    assert [d["operation_id"] for d in engine.admit()] == [again]


def test_what_comes_late_or_with_another_priority_is_found_beside_a_kept_snapshot(engine, pinned):
    """Behind the place where a look begins: found by the next one from the start."""
    engine.submit("x", 1)
    engine.admit()
    assert engine.value("select current_setting('kser.worked_off')::jsonb -> '' -> 'levels' ? '0'")
    low, high = engine.submit("x", 1, priority=-5), engine.submit("x", 1, priority=5)
    assert {d["operation_id"] for d in engine.admit()} == {low, high}
    late = engine.submit("x", 1)
    engine.rows("update kser.ready set due_at = now() - interval '1 h'")
    found = wait_until(lambda: engine.admit(), 30, "the late row to be found")
    assert [d["operation_id"] for d in found] == [late]


def test_once_the_snapshot_is_gone_looks_begin_at_the_start(engine, pinned):
    engine.submit("x", 1)
    engine.admit()
    assert engine.value("select current_setting('kser.worked_off')") != "{}"
    pinned.connection.rollback()
    engine.rows("vacuum kser.ready")
    engine.submit("x", 1)
    wait_until(lambda: engine.admit() is not None and engine.value("select current_setting('kser.worked_off')") == "{}", 30, "the memory to be dropped")
