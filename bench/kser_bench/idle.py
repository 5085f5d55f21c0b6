"""S5 idle, S6 and S7: programs that have just started and have nothing to do."""

import time

from kser_bench.figures import say
from kser_bench.machine import cpu_seconds, pss_mb

COUNT = "select sum(xact_commit + xact_rollback) from pg_stat_database where datname = current_database()"
OWN = 2  # the connection of the first count: they are counted when it ends
SETTLE_S = 11  # a connection that has become idle tells its statistics after ten seconds


def idle(stand, quick):
    """Starts the programs without metrics, as they are by default, and stops them again."""
    orchestrator_s, worker_s = stand.start(metrics=False)
    figures = {"S6.orchestrator_ms": round(orchestrator_s * 1000), "S6.worker_ms": round(worker_s * 1000)}
    stand.run_steps(1, 1)
    time.sleep(SETTLE_S)
    figures["S5.orchestrator_mb_idle"] = round(pss_mb(stand.orchestrators[0].pid), 1)
    figures["S5.worker_mb_idle"] = round(pss_mb(stand.workers[0].pid), 1)
    figures.update(load(stand, 5 if quick else 20))
    stand.stop()
    say(f"S7: {figures['S7.statements_per_s']} statements a second, {figures['S7.cpu_percent']} % of a core")
    return figures


def load(stand, seconds):
    before, used = stand.database.value(COUNT), cpu_seconds(stand.orchestrators[0].pid)
    time.sleep(seconds)
    used = cpu_seconds(stand.orchestrators[0].pid) - used
    time.sleep(1.2)  # the server's statistics are a second late
    return {"S7.statements_per_s": round(float(stand.database.value(COUNT) - before - OWN) / (seconds + 1.2), 2), "S7.cpu_percent": round(used * 100 / seconds, 2)}
