"""A round: operations that are submitted first, then released at once, so that the figures are of the steps alone."""

import time

STEPS = 10


def run_round(stand, operations, tidy="vacuum analyze"):
    """`tidy`: what is done to the tables before; None: nothing. Rate, and what a step cost: {"rate", "cpu": {process: µs}, "wal", "commits", "hot", "log": {topic: (records, batches, bytes)}}."""
    first = stand.submit(operations, STEPS, held=True)
    if tidy:
        stand.rows(f"{tidy} kser.operations, kser.tasks, kser.ready")
    stand.rows("checkpoint")
    sizes = stand.log.sizes() if stand.log else None
    before = stand.counts()
    stand.release(first)
    stand.wait_ended(first)
    used = stand.cpu()
    time.sleep(1.2)  # the server's statistics are a second late
    after = stand.counts()
    steps, seconds = stand.rows("""select count(*), extract(epoch from max(finished_at) - min(dispatched_at))::float from kser.tasks
        where operation_id >= %s and status = 'SUCCESS'""", first)[0]
    assert steps == operations * STEPS, f"{steps} steps are SUCCESS, not {operations * STEPS}"
    return {"rate": round(steps / seconds), "steps": steps, "log": stand.log.since(sizes) if stand.log else {}, **per_step(before, after, used, steps)}


def per_step(before, after, used, steps):
    """`used`: the CPU at the end; `after` is a little later."""
    return {"cpu": {name: round((used[name] - before["cpu"][name]) * 1e6 / steps, 2) for name in used},
            "wal": (after["wal"] - before["wal"]) / steps,
            "commits": (after["commits"] - before["commits"]) / steps,
            "hot": (after["hot"] - before["hot"]) / max(1, after["updates"] - before["updates"])}


def cpu_of(one):
    """µs of all processes for a step of a round."""
    return sum(one["cpu"].values())
