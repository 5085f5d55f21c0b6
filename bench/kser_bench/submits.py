"""S8: submits by pgbench from 8 clients, one call each and arrays of 1,000; no program of kser runs meanwhile."""

import re
import subprocess
import tempfile
from pathlib import Path

from kser_bench.figures import say

TASKS = """'[{"entrypoint": "noop"}, {"entrypoint": "noop"}, {"entrypoint": "noop"}]'"""
SINGLE = f"select kser.submit('bench', {TASKS});"
ARRAY = f"select count(*) from kser.submit_many((select jsonb_agg(jsonb_build_object('name', 'bench', 'tasks', {TASKS}::jsonb)) from generate_series(1, 1000)));"


def submits(stand, quick):
    seconds = 5 if quick else 20
    single, arrays = pgbench(stand, SINGLE, 8, seconds), pgbench(stand, ARRAY, 8, seconds) * 1000
    say(f"S8: {single:,.0f} operations a second one by one, {arrays:,.0f} in arrays")
    return {"S8.single_per_s": round(single), "S8.arrays_per_s": round(arrays)}


def pgbench(stand, statement, clients, seconds):
    """Transactions a second."""
    stand.clear()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(statement)
        script.flush()
        program = next(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
        done = subprocess.run([program, "-n", "-M", "prepared", "-f", script.name, "-c", str(clients), "-j", "2", "-T", str(seconds), stand.database],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return float(re.search(r"tps = ([\d.]+)", done.stdout)[1])
