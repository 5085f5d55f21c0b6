"""One fault on an arena: load, fault, recovery, settling, checking; and the table of faults."""

import json
import random
import shutil
import time
import traceback
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from fault import checker
from fault.arena import Arena, wait_until
from fault.ledgers import Rows, body_hash, read_executions
from fault.load import Load

SETTLE_SECONDS = 90  # within which everything has ended once the fault is over; the table tells how long it took in truth
GRACE = 15           # a rescue may come so long after a fault; a repeat that it causes is the fault's


@dataclass
class Fault:
    """name; what it is in words; `group` of the table; `act(run)` does it, at least `wanted` times (run.hit()). quick: part of --quick.
    fresh: needs an arena of its own (it leaves something behind). orchestrators, workers: the fleet before it. load: operations a second."""

    name: str
    what: str
    group: str
    act: object
    quick: bool = False
    fresh: bool = False
    orchestrators: int = 2
    workers: int = 2
    load: float = 12
    seeds: int = 2
    wanted: int = 1
    needs: object = None  # () -> None, or why it cannot be done here
    server: object = None  # a context manager that gives another PostgreSQL
    sealed: bool = False   # messages are sealed; the arena is its own then
    settle: float = SETTLE_SECONDS


FAULTS = {}


def fault(name, what, group, **further):
    """Puts a function into the table of faults."""
    def put(act):
        assert name not in FAULTS, name
        FAULTS[name] = Fault(name, what, group, act, **further)
        return act
    return put


@dataclass
class Outcome:
    fault: Fault
    seed: int
    hits: int = 0
    operations: int = 0
    executions: int = 0
    repeated: int = 0
    recovery: float = 0.0
    seconds: float = 0.0
    memory: int = 0
    violations: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    directory: Path = None
    skipped: str = None

    @property
    def failed(self):
        return not self.skipped and bool(self.violations or self.hits < self.fault.wanted)


class Run:
    """What a fault's function works with."""

    def __init__(self, arena, fault, seed):
        self.arena = arena
        self.fault = fault
        self.seed = seed
        self.random = random.Random(f"{fault.name}/{seed}")
        self.hits = 0
        self.windows = []
        self.clears = []
        self.notes = []
        self.expected = {}
        self.broken = []
        self.one_clock = True
        self.tolerated = set()
        self.client_mark = len(arena.client.lines)
        self.load = None

    # What happens.

    def hit(self, times=1):
        self.hits += times

    def note(self, text):
        self.notes.append(text)

    def violate(self, promise, text, ids=()):
        self.broken.append(checker.Violation(promise, text, list(ids)))

    def demand(self, condition, promise, text, ids=()):
        if not condition:
            self.violate(promise, text, ids)

    @contextmanager
    def during(self, repeats=True):
        """The fault lasts as long as the block. repeats: it may cause tasks to run again."""
        begin = time.time()
        try:
            yield
        finally:
            self.clear(begin, repeats)

    def clear(self, begin=None, repeats=True):
        """The fault is over now (and began at `begin`, else just now)."""
        now = time.time()
        self.clears.append(now)
        if repeats:
            self.windows.append((begin or now, now + GRACE))

    def kill(self, process):
        self.clear()
        self.arena.kill(process)
        self.hit()

    @contextmanager
    def frozen(self, process):
        """SIGSTOP for the block. Those who wait for it wait from the moment when it is stopped: the others have to take over."""
        begin = time.time()
        self.clears.append(begin)
        process.freeze()
        self.hit()
        try:
            yield
        finally:
            process.thaw()
            self.windows.append((begin, time.time() + GRACE))

    def sleep(self, seconds):
        """Lets the load go on."""
        time.sleep(seconds)

    def flow(self, operations=15, seconds=60):
        """Until the load has brought so many further operations to their end."""
        query = "select count(*) from kser.operations where status = 'SUCCESS' and name like 'load-%%'"
        before = self.arena.ask(query) or 0
        wait_until(lambda: (self.arena.ask(query) or 0) >= before + operations, seconds, f"{operations} further operations to succeed")

    # Operations of the fault's own.

    def submit(self, *tasks, name="own", expected="SUCCESS", **further):
        """One operation, entered in the client's ledger; its id. `expected`: the status it must end with, None: either."""
        return self.submit_many([(list(tasks), further)], name=name, expected=expected)[0]

    def submit_many(self, operations, name="own", expected="SUCCESS"):
        """`operations`: pairs (tasks, further members of the submission)."""
        asked = []
        for tasks, further in operations:
            key = f"{name}-{uuid.uuid4()}"
            self.arena.client.lines.append({"at": time.time(), "what": "intent", "key": key, "hash": body_hash(name, tasks)})
            asked.append({"name": name, "tasks": tasks, "key": key, "key_for": 86400, **further})
        ids = [row[0] for row in self.arena.database.query("select id::text from kser.submit_many(%s::jsonb) as id", json.dumps(asked))]
        for one, id in zip(asked, ids):
            self.arena.client.lines.append({"at": time.time(), "what": "ack", "key": one["key"], "id": id})
            self.expected[id] = expected
        return ids

    def history(self, id):
        return [row[0] for row in self.arena.database.query("select kind from kser.history where operation_id = %s order by id", id)]

    # Load and evidence.

    def start_load(self, url=None):
        if self.fault.load:
            self.load = Load(url or str(self.arena.database), self.arena.client, self.arena.three, self.fault.load, self.random.random()).start()
            if self.fault.workers and self.fault.orchestrators:
                self.flow(10)

    def stop_load(self):
        if self.load:
            self.load.stop()
            self.load = None

    def lines(self):
        return self.arena.client.since(self.client_mark)

    def keys(self):
        return {line["key"] for line in self.lines()}

    def unfinished(self):
        ended = "select count(*) from kser.operations where key = any (%s) and status in ('PENDING', 'RUNNING')"
        return self.arena.ask(ended, list(self.keys()))

    def settle(self):
        """Until all operations of this run have ended; what has not is for the checker to find."""
        limit = time.monotonic() + self.fault.settle
        while self.unfinished() != 0 and time.monotonic() < limit:
            time.sleep(0.25)
        time.sleep(1)  # an execution that nobody wants any more would be seen now

    def evidence(self):
        arena = self.arena
        ids = set(arena.ids(self.keys()))
        rows = Rows(arena.database, ids)
        everything = read_executions(arena.executions)
        known = {row[0] for row in arena.database.query("select id::text from kser.operations")}
        executions = [e for e in everything if e.operation in ids or e.operation not in known]
        arena.records += arena.reader.read()
        records = [r for r in arena.records if r.operation in ids]
        intents = {line["key"] for line in arena.client.lines if line["what"] == "intent"}
        phantoms = [id for id, key in arena.database.query("select id::text, key from kser.operations") if key not in intents]
        return checker.Evidence(self.lines(), executions, rows, records, self.windows, phantoms, self.expected, self.one_clock, self.tolerated)


class Suite:
    """Runs faults one after the other; an arena is kept until something went wrong on it or a fault asks for a fresh one."""

    def __init__(self, servers, binaries, directory, say=print, sealed=False):
        self.servers = servers
        self.binaries = binaries
        self.directory = Path(directory)
        self.say = say
        self.sealed = sealed
        self.arena = None
        self.number = 0

    def run(self, fault, seed):
        reason = fault.needs and fault.needs()
        if reason:
            return Outcome(fault, seed, skipped=reason)
        began = time.monotonic()
        self.servers.start()
        if fault.fresh or fault.server or fault.sealed:
            self.drop_arena()
        if fault.server:
            with fault.server(self) as postgres:
                outcome = self.run_on(self.new_arena(postgres, fault.sealed or self.sealed), fault, seed)
                self.drop_arena(outcome)
        else:
            outcome = self.run_on(self.arena or self.new_arena(sealed=fault.sealed or self.sealed), fault, seed)
            if fault.fresh or fault.sealed or outcome.failed:
                self.drop_arena(outcome)
        outcome.seconds = time.monotonic() - began
        return outcome

    def new_arena(self, postgres=None, sealed=False):
        self.number += 1
        self.arena = Arena(self.servers, self.binaries, self.directory / f"arena-{self.number}", postgres, sealed)
        self.arena.records = []
        return self.arena

    def drop_arena(self, outcome=None):
        """Ends the programs; what was wrong with that is the outcome's. Logs stay when something is wrong."""
        if not self.arena:
            return
        arena, self.arena = self.arena, None
        wrong = arena.close()
        if outcome:
            outcome.violations += [checker.Violation("programs", text, []) for text in wrong]
        elif wrong:
            self.say(f"  on leaving {arena.directory}: {'; '.join(wrong)}")
        if not wrong and not (outcome and outcome.failed):
            shutil.rmtree(arena.directory, ignore_errors=True)
        try:
            arena.database.drop()
        except psycopg2.Error:
            pass

    def run_on(self, arena, fault, seed):
        outcome = Outcome(fault, seed, directory=arena.directory)
        run = Run(arena, fault, seed)
        ends_before = set(arena.unexpected_ends())
        try:
            arena.use_lanes(1 + seed % 2)
            arena.fleet(fault.orchestrators, fault.workers)
            run.start_load()
            fault.act(run)
            self.mend(run)
            run.stop_load()
            run.settle()
        except Exception as reason:  # a fault's function that fails is a finding, not the end of the suite
            run.violate("run", f"{type(reason).__name__}: {str(reason)[:1500]}")
            arena_log(arena, traceback.format_exc() + story(arena))
            self.calm(run)
        try:
            self.judge(run, outcome)
        except Exception as reason:
            run.violate("run", f"could not check: {type(reason).__name__}: {str(reason)[:500]}")
            arena_log(arena, traceback.format_exc())
        for text in set(arena.unexpected_ends()) - ends_before:
            run.violate("programs", text)
        outcome.violations = run.broken + outcome.violations
        outcome.hits, outcome.notes = run.hits, run.notes
        if outcome.failed:
            arena_log(arena, "\n".join(f"{v.promise}: {v.text} {v.ids}" for v in outcome.violations) + "\n" + story(arena))
        return outcome

    def mend(self, run):
        """What the fault broke and did not mend itself: everybody is there again, and the load flows."""
        run.arena.forget_the_dead()
        self.servers.start()
        for process in [*run.arena.orchestrators, *run.arena.workers]:
            process.thaw()
        run.arena.fleet(max(run.fault.orchestrators, 1), max(run.fault.workers, 1))
        if run.load:
            run.flow(10)

    def calm(self, run):
        """After a fault's function that failed: as quiet as can be, so that the oracle sees an end and not a moment."""
        try:
            self.servers.start()
            run.stop_load()
            run.settle()
        except Exception:
            arena_log(run.arena, traceback.format_exc())

    def judge(self, run, outcome):
        evidence = run.evidence()
        plaintext = run.arena.reader.counts["plaintext"]
        run.demand(plaintext == 0, "sealed", f"{plaintext} records are plaintext")
        late = checker.slowest_recovery(evidence.changes, run.clears)[0]
        if late < float("inf"):  # as long as what it stopped has not moved on, a repeat is still the fault's
            evidence.windows = [(begin, end + late) for begin, end in evidence.windows]
        outcome.violations += checker.check(evidence)
        outcome.operations = len(evidence.operations)
        outcome.executions = len(evidence.executions)
        outcome.repeated = sum(len(several) - 1 for several in checker.repeats(evidence).values())
        outcome.recovery, slowest = checker.slowest_recovery(evidence.changes, run.clears)
        outcome.memory = max(run.arena.memory_peaks().values(), default=0)
        if slowest and outcome.recovery > 10:
            outcome.notes.append(f"slowest to move on: {slowest}")
        (run.arena.directory / f"windows-{run.fault.name.replace(':', '-')}").write_text(json.dumps({"windows": run.windows, "clears": run.clears}))


def arena_log(arena, text):
    with open(arena.directory / "suite.log", "a") as log:
        log.write(text + "\n")


def story(arena):
    try:
        return arena.story()
    except psycopg2.Error as reason:
        return f"no story: {reason}"
