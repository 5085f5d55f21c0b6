"""The dice game of the Python library's documentation. Workers in C have entrypoints of the same names (examples/dice_worker.c)."""

import random

from cdumay_result import Result
from kser.sequencing.operation import Operation
from kser.sequencing.task import Task


class DiceRoll(Task):
    def run(self):
        launch = random.randint(1, 6)
        return Result(uuid=self.uuid, stdout="You made a {} in Python".format(launch))


class DiceLaunch(Operation):
    def build_tasks(self, **kwargs):
        return [DiceRoll(), DiceRoll(), DiceRoll()]


class Yahtzee(Operation):
    """Three dice operations; all their tasks stand in one list."""

    def build_tasks(self, **kwargs):
        launches = [DiceLaunch() for _ in range(3)]
        launches[1].queue = ""  # the default queue: its workers, in C, build and run this one
        return launches
