"""S9: 10,000 tasks of the stock `sleep` in flight at once on one worker."""

import time

from kser_bench.figures import percentile, say
from kser_bench.machine import pss_mb

TASKS = 10000
SECONDS = 10
WINDOW = 12000  # of the queue: 2,000 by default


def sleepers(stand):
    """Late: from the dispatch to the end of a task, less its sleep."""
    stand.clear()
    stand.rows("update kser.queues set window_size = %s", WINDOW)
    stand.restart(slots=TASKS)
    first = stand.submit(TASKS, 1, held=True, task={"entrypoint": "sleep", "params": {"seconds": SECONDS}})
    stand.release(first)
    began, sizes = time.monotonic(), []
    while stand.rows("select 1 from kser.operations where id >= %s and finished_at is null order by id desc limit 1", first):
        sizes.append(pss_mb(stand.workers[0].pid))
        time.sleep(0.5)
        assert time.monotonic() - began < 120, "tasks that sleep ten seconds do not end"
    stand.rows("update kser.queues set window_size = default")
    return {**lateness(stand, first), "S9.worker_mb": round(max(sizes), 1)}


def lateness(stand, first):
    rows = stand.rows("""select extract(epoch from finished_at - dispatched_at)::float * 1000 - %s, attempt from kser.tasks
        where operation_id >= %s and status = 'SUCCESS'""", SECONDS * 1000, first)
    at_once = stand.value("""select count(*) from kser.tasks where operation_id >= %s
        and dispatched_at < (select min(finished_at) from kser.tasks where operation_id >= %s)""", first, first)
    late = [row[0] for row in rows]
    assert len(late) == TASKS, f"{len(late)} of {TASKS} tasks are SUCCESS"
    say(f"S9: {at_once:,} at once, late by {percentile(late, 0.5):.0f} ms at p50, {percentile(late, 0.99):.0f} ms at p99")
    return {"S9.late_ms_p50": round(percentile(late, 0.5)), "S9.late_ms_p99": round(percentile(late, 0.99)), "S9.late_ms_max": round(max(late)), "S9.in_flight": at_once,
            "S9.repeated": sum(attempt > 1 for _, attempt in rows)}
