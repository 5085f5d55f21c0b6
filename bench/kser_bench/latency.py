"""S2, one operation alone, and S3, an open loop at half of S1's rate."""

import json
import time

from kser_bench.bare import kafka_echo
from kser_bench.figures import percentile, say, spread
from kser_bench.rounds import STEPS
from kser_bench.stand import ROOT

TICK_S = 0.01


def alone(stand, quick):
    """S2: from one step's finished_at to the next one's; the echo with one record in flight before each run."""
    steps, count = (300, 2) if quick else (1000, 3)
    runs, echoes = [], []
    stand.run_steps(1, 200)
    for number in range(count):
        echoes.append(kafka_echo(stand, 1, 1 if quick else 2)["ms_p50"])
        runs.append(gaps(stand, stand.run_steps(1, steps)))
        say(f"S2: run {number + 1} of {count}: {percentile(runs[-1], 0.5):.3f} ms, bare Kafka {echoes[-1]:.3f} ms")
    figures = {}
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        figures.update(spread(f"S2.ms_{name}", [percentile(run, share) for run in runs], 3))
    return {**figures, **spread("S2.bare_kafka_ms_p50", echoes, 3)}


def gaps(stand, first):
    """Milliseconds between the ends of successive steps of one operation."""
    rows = stand.rows("""select extract(epoch from finished_at - lag(finished_at) over (order by position))::float * 1000 from kser.tasks
        where operation_id = %s order by position offset 1""", first)
    return [row[0] for row in rows]


def open_loop(stand, quick, steps_per_s):
    """S3: operations come at a fixed rate whatever becomes of them; the tasks leave the moments of their starts in the rows."""
    seconds = 5 if quick else 20
    stand.clear()
    first, late_s = submit_at(stand, steps_per_s / STEPS, seconds)
    ended = time.monotonic()
    stand.wait_ended(first)
    ended = time.monotonic() - ended
    steps, p50, p90, p99, first_p50, first_p99 = stand.rows((ROOT / "bench" / "starts.sql").read_text(), first)[0]
    say(f"S3: {steps:,} steps at {steps_per_s:,.0f} a second: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return {"S3.offered_steps_per_s": round(steps_per_s), "S3.ms_p50": round(p50, 2), "S3.ms_p90": round(p90, 2), "S3.ms_p99": round(p99, 2),
            "S3.first_ms_p50": round(first_p50, 2), "S3.first_ms_p99": round(first_p99, 2), "S3.submits_late_ms_max": round(late_s * 1000, 1),
            "S3.ended_after_ms": round(ended * 1000)}


def submit_at(stand, operations_per_s, seconds):
    """Submits what is due every 10 ms: the least id, and how far behind the clock it was at worst."""
    submission = json.dumps({"name": "bench", "tasks": [{"entrypoint": "stamp"}] * STEPS})
    statement = "select id from kser.submit_many((select jsonb_agg(%s::jsonb) from generate_series(1, %s))) as id order by id limit 1"
    began, sent, first, late_s = time.monotonic(), 0, None, 0.0
    while sent < int(operations_per_s * seconds):
        due = int(min(time.monotonic() - began, seconds) * operations_per_s) - sent
        if due > 0:
            least = stand.value(statement, submission, min(due, 1000))
            first = min(first or least, least)
            late_s = max(late_s, time.monotonic() - began - (sent + 1) / operations_per_s)
            sent += min(due, 1000)
        time.sleep(max(0, TICK_S - (time.monotonic() - began) % TICK_S))
    return first, late_s
