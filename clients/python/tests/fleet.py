"""A fleet's entrypoints, as they are written for kser."""

import threading

from cdumay_result import Result
from kser.controller import Controller
from kser.entry import Entrypoint
from kser.schemas import Message
from kser.sequencing.operation import Operation
from kser.sequencing.registry import OperationRegistry
from kser.sequencing.task import Task

from kser_adapter import wire

TASK = "d455cba6-b329-4d2d-a4e5-1fc2a0ff2781"
OPERATION = "8a75d3f6-71b6-4dad-98b5-fa1ed6b2f160"


class FleetController(Controller):
    """With entrypoints of its own: kser has one table for all."""

    ENTRYPOINTS = {}
    heard = []

    @classmethod
    def onmessage(cls, kmsg):
        cls.heard.append(kmsg.uuid)
        return kmsg


registry = OperationRegistry(controller_class=FleetController)


class Hello(Entrypoint):
    REQUIRED_FIELDS = ["name"]

    def run(self):
        return Result(uuid=self.uuid, stdout="Hello {name} !".format_map(self.params), retval={"greeted": self.params["name"]})


class Same(Task):
    """Says what it is told to."""

    def run(self):
        return Result(uuid=self.uuid, **self.params)


class Prints(Task):
    def run(self):
        self.result.print("more")
        return self.result


class Raises(Task):
    def run(self):
        raise KeyError("x")


class Leaves(Task):
    def run(self):
        raise SystemExit(3)


class Strange(Task):
    """A result that JSON, or nobody but Python, can say."""

    VALUES = {"nan": float("nan"), "bytes": b"x", "large": 2**64, "surrogate": "\ud800", "nul": "a\0b", "deep": None, "long": "x" * (1024 * 1024)}

    def run(self):
        value = self.VALUES[self.params["kind"]]
        if self.params["kind"] == "deep":
            for _ in range(70):
                value = [value]
        return Result(uuid=self.uuid, retval={"value": value})


class Holds(Task):
    """Runs until the gate is opened."""

    started = threading.Event()
    gate = threading.Event()

    def run(self):
        self.started.set()
        assert self.gate.wait(30)
        return Result(uuid=self.uuid, stdout="held")


class DiceRoll(Task):
    def run(self):
        return Result(uuid=self.uuid, stdout="You made a 3")


class DiceLaunch(Operation):
    def build_tasks(self, **kwargs):
        return [DiceRoll(params={"player": kwargs.get("player", 1)}) for _ in range(3)]


class Yahtzee(Operation):
    """Three dice operations; one is built here, one spliced, one left for a worker to build."""

    def build_tasks(self, **kwargs):
        return [DiceLaunch().build()] + DiceLaunch().compute_tasks(player=2) + [DiceLaunch(params={"player": 3})]


class Nothing(Operation):
    pass


class Picky(Operation):
    REQUIRED_FIELDS = ["size"]

    def build_tasks(self, **kwargs):
        return [DiceRoll()]


for entrypoint in (Hello, Same, Prints, Raises, Leaves, Strange, Holds, DiceRoll, DiceLaunch, Yahtzee, Nothing, Picky):
    registry.controller.register("jobs." + entrypoint.__name__, entrypoint)


def dispatch(entrypoint="Hello", params=None, result=None, attempt=1, uuid=TASK, metadata=None, **stamp):
    """What the orchestrator sends, as a dict."""
    named = {"op": OPERATION, "pos": 0, "attempt": attempt, "gen": -5, "epoch": 3}
    named.update(stamp)
    return {"uuid": uuid, "entrypoint": "jobs." + entrypoint, "params": params or {}, "result": result,
            "metadata": dict(metadata or {}, kser=named)}


def task_of(message):
    return wire.Task(Message.loads(wire.encode(message)))
