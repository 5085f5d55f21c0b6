"""What scripts/model and the tests run: each model with sizes, rules left out (mutants) and points to be reached (probes)."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

HOLDS = "holds"    # explored to the end without a violation
MUTANT = "mutant"  # a rule is left out: a violation must be found
PROBE = "probe"    # asserts that a point is never reached: it must be


@dataclass(frozen=True)
class Run:
    model: str
    kind: str
    defines: tuple
    quick: bool = True   # part of --quick; the others take seconds to minutes
    bitstate: bool = False  # hashes instead of states, and two minutes: a sample of what is too large

    @property
    def name(self):
        return " ".join([self.model, *self.defines])


def runs_of(model, holds=(), full=(), mutants=(), probes=(), sampled=()):
    yield from (Run(model, HOLDS, tuple(sizes.split())) for sizes in holds)
    yield from (Run(model, HOLDS, tuple(sizes.split()), quick=False) for sizes in full)
    yield from (Run(model, HOLDS, tuple(sizes.split()), quick=False, bitstate=True) for sizes in sampled)
    yield from (Run(model, MUTANT, tuple(defines.split())) for defines in mutants)
    yield from (Run(model, PROBE, tuple(defines.split())) for defines in probes)


RUNS = [
    *runs_of(
        "detector",
        holds=["FAULTS=1", "ONE_ROUND LOSE_CLAIM=0", "STRANGER=1 RESET=1"],
        full=[
            "FAULTS=2",
            "EPOCHS=4",
            "FAULTS=2 RESET=1 STRANGER=1",
            "TASKS=2 CHAIN REPLY_LOG=3",
            "TASKS=2 CHAIN REPLY_LOG=3 EARLY_OFFSET",
            "TASKS=2 REPLY_LOG=3",
            "TASKS=2 CHAIN ORCHESTRATORS=2 REPLY_LOG=2",
            "ORCHESTRATORS=2",
            "KEEPERS=2",
        ],
        sampled=["TASKS=2 CHAIN ORCHESTRATORS=2 REPLY_LOG=3 FAULTS=2 EPOCHS=4"],
        mutants=[
            "M_NO_FLOOR",
            "M_CALL_NOT_IN_FLOOR",
            "M_UNACKNOWLEDGED_NOT_IN_FLOOR",
            "M_FLOOR_AFTER_END",
            "M_END_BEFORE_EPOCH",
            "M_NEWEST_SAMPLE",
            "M_NO_WAIT",
            "M_REPLY_ENDS_FIRST ONE_ROUND LOSE_CLAIM=0",
            "M_REPLY_ENDS_FIRST FAULTS=2 RESET=1 CRASH=0 REMOVE=0 WORKER_CRASH=0 LOSE_TASK=0",
            "M_WORKER_COMMITS_FIRST",
            "M_OFFSET_BEFORE_APPLY",
            "M_HEARTBEAT_IS_NO_CLAIM",
            "M_HEARTBEAT_AFTER_REPLY_ENDS",
            "M_UNREGISTERED REMOVE=0",
            "M_SENDS_AFTER_REMOVAL",
            "M_NO_RESTAMP TASKS=2 CHAIN REPLY_LOG=3 CRASH=0 WORKER_CRASH=0 LOSE_TASK=0 LOSE_REPLY=0",
            "M_NO_MARK STRANGER=1",
            "M_MARK_BELIEVED_AT_ONCE STRANGER=1 TASKS=2 CRASH=0 REMOVE=0 WORKER_CRASH=0 LOSE_TASK=0 LOSE_REPLY=0",
            "ONE_ROUND",
        ],
        probes=["P_LOST", "P_HEALED", "P_LOST_SUCCESSOR TASKS=2 CHAIN REPLY_LOG=3", "P_LOST_AGAIN ATTEMPTS=3 EPOCHS=4 FAULTS=2 CRASH=0 REMOVE=0 WORKER_CRASH=0 LOSE_REPLY=0"],
    ),
    *runs_of(
        "chain",
        holds=["FAULTS=1"],
        full=["FAULTS=2", "TASKS=3 FAULTS=2"],
        mutants=["M_NO_ATTEMPT_CHECK", "M_NO_ANSWER_CHECK", "M_LATE_GOES_ON"],
        probes=["P_REPEATED", "P_LATE", "P_LOST", "P_ENDED"],
    ),
    *runs_of(
        "claims",
        holds=["FAULTS=1"],
        full=["FAULTS=2 QUEUE=2", "FAULTS=2 QUEUE=3", "FAULTS=2 LEASE=3"],
        mutants=[
            "M_NO_GATE",
            "M_NO_SECOND_LOOK",
            "M_AGE_OF_NOW",
            "M_REPLY_ENDS_BEFORE_THE_MOMENT",
            "M_NO_CLOCK_GUARD",
            "M_ANY_CLAIM",
            "M_RELEASE_OF_ANOTHERS",
        ],
        probes=["P_EXPIRED", "P_SAVED_BY_THE_GATE", "P_STOPPED", "P_ENDED"],
    ),
    *runs_of(
        "steering",
        holds=["VERBS=2"],
        full=["VERBS=3 RETRIES=2"],
        mutants=[
            "M_HELD_READ_BEFORE_THE_LOCK",
            "M_HELD_READ_BEFORE_THE_TASK",
            "M_NO_SECOND_LOOK",
            "M_READY_TRUSTED",
            "M_SKIPPED_ROW_DELETED",
            "M_RESUME_MAKES_NO_ROW",
            "M_STOP_IGNORED",
            "M_FINDER_FORGETS_STOPS",
        ],
        probes=["P_CANCELLED_BEHIND_A_RESULT", "P_ASKED_WHILE_HELD", "P_RETRIED", "P_REFUSED"],
    ),
    *runs_of(
        "restore",
        holds=["RETRIES=1"],
        full=["RETRIES=3", "LIVES=4 RETRIES=2", "SILENT"],
        mutants=["M_GENERATION_COUNTS", "M_NO_GENERATION", "M_RUNNING_STAYS"],
        probes=["P_RESTORED_TWICE", "P_SILENTLY_ACCEPTED SILENT", "P_SILENTLY_ACCEPTED SILENT REMEMBERS"],
    ),
]
