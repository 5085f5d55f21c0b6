"""A kser worker in Python, as fleets have them, with the adapter in place of kser's consumer: python_worker.py FLAVOUR QUEUE.
Sealed where a key is set. Runs under the Python that has kser and its clients (scripts/python)."""

import faulthandler
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

locks = tempfile.TemporaryDirectory(prefix="kser-fleet-")
os.environ["LOCK_PATH"] = locks.name
os.environ["RUNNING_FILE"] = os.path.join(locks.name, "run")
# In place of this folder, where kafka.py is another one.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "clients" / "python")

from cdumay_result import Result  # noqa: E402
from kser.entry import Entrypoint  # noqa: E402
from kser.sequencing.operation import Operation  # noqa: E402
from kser.sequencing.task import Task  # noqa: E402
from kser_adapter import worker  # noqa: E402

flavour, queue = sys.argv[1:]
if os.environ.get("KSER_SECRETBOX_KEY") or os.environ.get("KSER_SECRETBOX_KEY_FILE"):
    from kser_crypto.controller import CryptoController as Controller
else:
    from kser.controller import Controller


def note(entrypoint):
    """One line for each execution, as the entrypoints of ledger.c write them."""
    stamp = entrypoint.metadata["kser"]
    with open(entrypoint.params["ledger"], "a") as ledger:
        ledger.write("{} {} {} {}\n".format(stamp["op"], stamp["pos"], stamp["attempt"], os.getpid()))


class Note(Task):
    def run(self):
        note(self)
        return Result(uuid=self.uuid, stdout="noted by Python", retval={"by": "python", "before": self.result.search_value("by")})


class Hold(Task):
    def run(self):
        note(self)
        while not os.path.exists(self.params["gate"]):
            time.sleep(0.02)
        return Result(uuid=self.uuid, stdout="held")


class Hello(Entrypoint):
    REQUIRED_FIELDS = ["name"]

    def run(self):
        return Result(uuid=self.uuid, stdout="Hello {name} !".format_map(self.params))


class DiceRoll(Task):
    def run(self):
        return Result(uuid=self.uuid, stdout="You made a {}".format(1 + self.params.get("seed", 0) % 6))


class DiceLaunch(Operation):
    def build_tasks(self, **kwargs):
        return [DiceRoll(params={"seed": seed}) for seed in range(3)]


class Yahtzee(Operation):
    def build_tasks(self, **kwargs):
        return [DiceLaunch() for _ in range(3)]


NAMES = {Note: "ledger.note", Hold: "ledger.hold", Hello: "jobs.Hello", DiceRoll: DiceRoll.path, DiceLaunch: DiceLaunch.path, Yahtzee: "jobs.Yahtzee"}
for entrypoint, name in NAMES.items():
    Controller.register(name, entrypoint)

faulthandler.register(signal.SIGUSR1)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(levelname)s %(message)s")
logging.getLogger("kafka").setLevel(logging.WARNING)
brokers = os.environ["KSER_BROKERS"]
if flavour == "confluent":
    from kser_adapter.confluent import Consumer
    config = {"bootstrap.servers": brokers}
else:
    from kser_adapter.python_kafka import Consumer
    config = {"bootstrap_servers": brokers}


class FleetConsumer(Consumer):
    REGISTRY = Controller


def be_deaf_at_first():
    """The first client hears nothing of its group."""
    worker.REJOIN_AFTER = 1.0
    poll, deaf = Consumer.BROKER.poll, []

    def poll_unless_deaf(broker, seconds):
        deaf.append(broker.consumer)
        if broker.consumer is not deaf[0]:
            return poll(broker, seconds)
        time.sleep(seconds)
        return None

    Consumer.BROKER.poll = poll_unless_deaf


if os.environ.get("DEAF_AT_FIRST"):
    be_deaf_at_first()

FleetConsumer(config, queue=queue).run()
