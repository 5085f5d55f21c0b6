"""What all actors share, and the truth: every dispatch, execution and answer there ever was. The checks that can be made
at the moment of a call are made here; those that need the end are in checker.py."""

from collections import Counter

import psycopg2

from simulation.broker import Group, Log

LEASE = 8.0            # of a claim
SILENCE = 8.0          # after which an orchestrator's row is removed
KEEPER_LEASE = 4.0
DISPATCH_AGE = 4.0     # a dispatch is handed over only if the last good beat is younger
HEARTBEAT = 2.0
FIRST_SECOND = 1_900_000_000.0


class Violation(Exception):
    """A promise was broken."""


class Launch:
    """One dispatch identity: an attempt of a task in one life of the database, and all that became of it."""

    def __init__(self, timeline, row, cause, call):
        self.timeline = timeline
        self.task, self.operation, self.position, self.attempt, self.generation = row["uuid"], row["operation_id"], row["position"], row["attempt"], row["generation"]
        self.queue = row["queue"]
        self.limit_ms = row["limit_ms"]
        self.epoch = row["epoch"]  # of the first time
        self.cause = cause       # the reply whose application made it; None: admitted
        self.call = call
        self.copies = []         # its records, however they came to be
        self.answers = []        # results and releases
        self.named = []          # claims and heartbeats that name it
        self.executions = []
        self.allowed = 0         # executions that are explained
        self.reset = False       # somebody moved the group's offset over it, or its topic was made anew

    def __str__(self):
        return f"{self.operation[-4:]}/{self.task[-4:]}#{self.attempt}"


class Execution:
    """An entry in the workers' ledger."""

    def __init__(self, number, launch, worker, clock):
        self.number, self.launch, self.worker, self.started = number, launch, worker, clock
        self.ended = None


class World:
    def __init__(self, rng, session, switches=(), trace=False):
        self.rng = rng
        self.session = session
        self.switches = frozenset(switches)
        self.tracing = trace
        self.trace = []
        self.coverage = Counter()
        self.now = FIRST_SECOND
        self.activity = 0       # rises with each record but heartbeats, and each task that still runs
        self.order = 0          # of events: rises with each
        self.timeline = 0
        self.halted = False     # as far as we know
        self.silent = False     # the database was set back and nobody has said so
        self.launches = {}
        self.executions = []
        self.submitted = {}     # operation → when (order)
        self.successes = {}     # (timeline, task) → order of its SUCCESS
        self.quiet_spans = []   # (operation, call after which, call before which or None, why): nothing is started
        self.calls = {}         # call number → name of the function
        self.processes = []
        self.workers = []
        self.anothers = []      # (call of a release, an attempt that it names, the worker that has it claimed)

    def make_topics(self, queues, partitions, replies):
        self.queues = queues
        self.tasks = {queue: [Log(f"tasks.{queue}", p) for p in range(partitions)] for queue in queues}
        self.results = [Log("results", q) for q in range(replies)]
        self.control = []
        self.worker_groups = {queue: Group(self.tasks[queue]) for queue in queues}
        self.orchestrators = Group(self.results)

    def tell(self, text, *arguments):
        if self.tracing:
            self.trace.append(f"{self.now - FIRST_SECOND:8.3f} {self.session.number:4} " + text % arguments)

    def saw(self, event, count=1):
        if count:
            self.coverage[event] += int(count)

    def violation(self, text):
        self.tell("VIOLATION %s", text)
        raise Violation(text)

    def tick(self):
        self.order += 1
        return self.order

    # --- Calls of the database

    def call(self, name, statement, *arguments, refused=()):
        """One call of one function. Returns None when it was refused with one of the SQLSTATEs given."""
        try:
            rows = self.session.rows(statement, *arguments)
        except psycopg2.Error as error:
            if error.pgcode == "55P03":
                self.saw("lock_timeout")  # of the server's own housekeeping: called again, as the programs do
                return self.call(name, statement, *arguments, refused=refused)
            if error.pgcode in refused:
                self.tell("%s refused: %s", name, error.diag.message_primary)
                self.saw(f"{name}_refused")
                return None
            self.violation(f"{name}: the database says {error.pgcode}: {error.diag.message_primary} ({error.diag.context})")
        self.calls[self.session.number] = name
        self.tell("  call %s", name)
        self.saw(f"call_{name}")
        return rows

    # --- Dispatches

    def dispatched(self, row, cause=None, again=False):
        """The database has decided a dispatch (whether its caller learned of it or not)."""
        key = (self.timeline, row["uuid"], row["attempt"], row["generation"])
        launch = self.launches.get(key)
        self.tell("dispatch %s/%s#%s position %s epoch %s partition %s%s", row["operation_id"][-4:], row["uuid"][-4:], row["attempt"], row["position"],
                  row["epoch"], row["partition"], " again" if again else "")
        if again:
            if launch is None:
                self.violation("a dispatch was given again that was never given")
            if launch.cause is not cause:
                self.violation(f"{launch} was given again for {cause}, which did not start it")
            self.saw("re_emission")
            self.saw("re_emission_two_epochs_later", row["epoch"] >= launch.epoch + 2)
            return launch
        if launch is not None:
            self.violation(f"{launch} was given twice as a new one")
        launch = self.launches[key] = Launch(self.timeline, row, cause, self.session.number)
        return launch

    def logged(self, record):
        """A record has reached its log."""
        if record.kind != "heartbeat":
            self.activity += 1
        if record.kind == "task":
            record.launch.copies.append(record)
            record.launch.allowed += 1
        elif record.kind in ("result", "release"):
            for launch in record.named or (record.launch,):
                launch.answers.append(record)
        else:
            for launch in record.named:
                launch.named.append(record)

    def won(self, record, retcode):
        """The database took a reply as the end of its attempt."""
        launch = record.launch
        if record.forged:
            self.violation(f"a forged reply ended {launch}")
        if launch.generation != self.generation:
            self.violation(f"{record}: an answer of another generation ended an attempt")
        if launch.timeline != self.timeline and not self.silent:
            self.violation(f"{record}: an answer of a lost future ended an attempt")
        if retcode == 0:
            self.successes[(self.timeline, launch.task)] = self.tick()

    def not_taken(self, record):
        """A true answer changed nothing: its attempt must have ended before. One of a lost future may change nothing, whatever runs now."""
        launch = record.launch
        if launch.timeline == self.timeline and self.session.look("select 1 from kser.tasks where operation_id = %s and uuid = %s and attempt = %s and status = 'RUNNING'", launch.operation, launch.task, launch.attempt):
            self.violation(f"{record} was not taken, though its attempt runs")

    # --- What is done to the database

    def new_generation(self):
        self.silent = self.halted = False
        self.generation = self.session.look("select generation from kser.meta")[0][0]

    def set_back(self):
        """To where `begin` of the session was, when nothing had been started."""
        self.timeline += 1
        self.generation = self.session.look("select generation from kser.meta")[0][0]
        self.quiet_spans.clear()
        for operation in [o for o in self.submitted if not self.session.look("select 1 from kser.operations where id = %s", o)]:
            del self.submitted[operation]

    def steered(self, verb, operation, answer):
        """A verb has returned: from here on, what it promises."""
        call = self.session.number
        if verb in ("resume", "retry"):
            self.quiet_spans[:] = [(o, begin, call if o == operation and end is None else end, why) for o, begin, end, why in self.quiet_spans]
        elif verb in ("pause", "cancel"):
            self.quiet_spans.append((operation, call, None, f"{verb}: {answer}"))

    def about_to_release(self, record):
        """Remembers which of the attempts that a worker hands back are claimed by another one."""
        for launch in record.named:
            if any(r.applied and r.body["worker"] != record.body["worker"] for r in launch.named):
                for worker, in self.session.look("select worker from kser.claims where operation_id = %s and position = %s and uuid = %s and attempt = %s and worker <> %s",
                                                 launch.operation, launch.position, launch.task, launch.attempt, record.body["worker"]):
                    self.saw("release_of_anothers")
                    self.anothers.append((self.session.number + 1, launch, worker))

    # --- Executions

    def execute(self, launch, worker):
        execution = Execution(len(self.executions) + 1, launch, worker, self.tick())
        self.executions.append(execution)
        launch.executions.append(execution)
        self.tell("%s starts %s as %s", worker.name, launch, execution.number)
        if len(launch.executions) > max(1, launch.allowed):
            self.violation(f"{launch} runs for the {len(launch.executions)}th time, {launch.allowed} are explained")
        if len(launch.executions) > 1:
            self.saw("repeat_explained")
        return execution

    def explain(self, launch):
        """A fault has happened after which this attempt may run once more."""
        launch.allowed += 1

    # --- What recovery says

    def launch_at(self, operation, position, attempt):
        found = None
        for launch in self.launches.values():
            if launch.operation == operation and launch.attempt == attempt and launch.position == position and launch.timeline == self.timeline:
                found = launch
        return found

    def was_lost(self, operation, position, attempt):
        self.saw("lost")
        launch = self.launch_at(operation, position, attempt)
        self.tell("lost %s", launch)
        problem = launch and not self.silent and self.not_lost_because(launch)
        if problem:
            self.violation(f"{launch} was called lost, but {problem}")

    def not_lost_because(self, launch):
        """Why an attempt cannot be called lost; None when it is."""
        if launch.reset:
            return None
        for process in self.processes:
            if process.alive and process.registered:
                for producer in process.producers():
                    if any(r.kind == "task" and r.launch is launch for r in producer.records()):
                        return f"{process.name} has not got its acknowledgement"
                if process.holds(launch):
                    return f"{process.name} is about to send it"
        gone = [r for r in launch.copies + launch.answers if r.vanished]
        for record in launch.copies:
            # What was sent counts; another copy of it, somewhere, promises nothing.
            if not record.vanished and not record.repeated and record.offset >= self.worker_groups[launch.queue].position(record.log.number):
                return f"it waits as {record}"
        for answer in launch.answers:
            if not answer.vanished and not answer.applied:
                return f"its answer waits as {answer}"
        named = [r for r in launch.named if not r.vanished and self.now - r.time < LEASE]
        if named:
            return f"it was named by {named[-1]}"
        for worker in self.workers:
            if worker.alive and worker.holds(launch) and not gone and not any(r.vanished for r in launch.named) and not launch.named:
                return f"{worker.name} has it in hand"
        if launch.cause is not None and not launch.copies and not launch.cause.vanished and not self.was_stopped(launch):
            return "the reply that started it should have come again"
        if launch.cause is None and not launch.copies and not gone:
            self.saw("lost_before_it_was_sent")
        return None

    def was_stopped(self, launch):
        """Somebody wanted it ended: then it is not sent once more."""
        return bool(self.session.look("select 1 from kser.history where uuid = %s and attempt = %s and kind = 'stopped'", launch.task, launch.attempt))

    def was_expired(self, operation, position, attempt, worker, at, noted):
        """`at`: when the round began; `noted`: the ends of the results that it waited for. What was named behind both came too late.
        A claim that is named again within an eighth of a lease is not renewed by that."""
        self.saw("expired")
        launch = self.launch_at(operation, position, attempt)
        self.tell("expired %s of %s", launch, worker)
        if launch is None:
            return
        named = [r.time for r in launch.named if not r.vanished and r.body["worker"] == worker and (r.time <= at or noted and r.offset < noted[r.log.number])]
        if launch.limit_ms and launch.named and at >= min(r.time for r in launch.named) + launch.limit_ms / 1000 + 5:
            self.saw("expired_past_its_limit")
        elif named and at - max(named) < (LEASE if len(named) == 1 else LEASE * 7 / 8):
            self.violation(f"the claim of {launch} was ended {at - max(named):.3f} s after {worker} named it")
