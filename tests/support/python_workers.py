"""Workers in Python (support/python_worker.py) of a cell, and the Python library's own producer and consumer."""

import json
import os
import subprocess
from pathlib import Path

from support.processes import clean_environment
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
FLAVOURS = ("python_kafka", "confluent")  # of Kafka clients; each has a queue of its own, of its name


def interpreter():
    """The Python that has kser. Asserts that there is one: nothing is skipped without."""
    path = Path(os.environ.get("KSER_TEST_PYTHON") or ROOT / "build" / "python" / "bin" / "python")
    assert path.exists(), f"{path} is not there: scripts/python makes it"
    return str(path)


class PythonWorkers:
    def __init__(self, cell):
        self.cell = cell
        self.python = interpreter()
        self.running = {}  # queue → its workers in Python

    def environment(self, **further):
        kept = {key: value for key, value in self.cell.environment.items() if key != "KSER_DATABASE_URL"}
        return {**kept, **further}

    def start(self, flavour, queue=None, **environment):
        """One more worker, of the flavour's queue where none is named. It has not joined yet."""
        queue = flavour if queue is None else queue
        worker = self.cell.processes.start(self.python, "tests/support/python_worker.py", flavour, queue,
                                           name=f"python-{flavour}-{len(self.cell.processes.started)}", environment=self.environment(**environment))
        self.running.setdefault(queue, []).append(worker)
        return worker

    def want(self, count):
        """So many workers in each flavour's queue, each with its partitions."""
        for flavour in FLAVOURS:
            alive = self.running[flavour] = [worker for worker in self.running.get(flavour, []) if worker.running]
            for _ in range(count - len(alive)):
                self.start(flavour)
        for flavour in FLAVOURS:
            self.wait_for_members(count, flavour)

    def wait_for_members(self, count, queue=""):
        group = f"{self.cell.prefix}.workers" + (f".{queue}" if queue else "")
        wait_until(lambda: self.cell.kafka.members(group) == count, 60, f"{count} members of {group}", pause=0.2)

    def run(self, program, *arguments, **environment):
        """A program of tests/support to its end: what it printed, as JSON."""
        done = subprocess.run([self.python, str(ROOT / "tests" / "support" / program), *arguments], stdin=subprocess.DEVNULL, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(**self.environment(**environment)))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
