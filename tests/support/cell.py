"""A cell: one database, one topic prefix, and the programs on them."""

import json
from collections import Counter

from support.waiting import wait_until


class Ledger:
    """The file in which the entrypoints ledger.note and ledger.hold (support/ledger.c) note each execution."""

    def __init__(self, directory):
        self.path = directory / "ledger"
        self.gate = directory / "gate"

    def note(self, **params):
        """A task that notes its execution; code=N makes it fail with N."""
        return {"entrypoint": "ledger.note", "params": {"ledger": str(self.path), **params}}

    def hold(self, **params):
        """A task that notes its execution and runs until open() is called."""
        return {"entrypoint": "ledger.hold", "params": {"ledger": str(self.path), "gate": str(self.gate), **params}}

    def open(self):
        self.gate.touch()

    def lines(self):
        """(operation, position, attempt, pid) of each execution, in the order of their starts."""
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text().rpartition("\n")  # the last line may be half written
        rows = [line.split() for line in whole.splitlines()]
        return [(operation, int(position), int(attempt), int(pid)) for operation, position, attempt, pid in rows]

    def executions(self):
        """How often each (operation, position) was executed."""
        return Counter((operation, position) for operation, position, _, _ in self.lines())


class Cell:
    def __init__(self, database, kafka, prefix, processes, ledger):
        self.database = database
        self.kafka = kafka
        self.prefix = prefix
        self.processes = processes
        self.ledger = ledger
        self.further = {}  # of every program's environment
        self.lanes = 2     # of each orchestrator

    def topic(self, name):
        return f"{self.prefix}.{name}"

    @property
    def environment(self):
        return {"KSER_DATABASE_URL": str(self.database), "KSER_BROKERS": self.kafka.brokers, "KSER_TOPIC_PREFIX": self.prefix, "KSER_LANES": str(self.lanes), **self.further}

    def orchestrator(self, *arguments, name=None, wrap=None):
        return self.processes.start("kser-orchestrator", *arguments, name=name, environment=self.environment, wrap=wrap)

    def worker(self, *arguments, name=None, wrap=None):
        """A worker with the stock entrypoints and those of the ledger, and slots for all the tasks that a test holds. It is
        not told where the database is."""
        environment = {key: value for key, value in self.environment.items() if key != "KSER_DATABASE_URL"}
        plugin = self.processes.binaries.parent / "lib" / "ledger.so"
        return self.processes.start("kser-worker", "--plugin", plugin, "--slots", 50, *arguments, name=name, environment=environment, wrap=wrap)

    def start(self, orchestrators=1, workers=1):
        """Starts programs and waits until all have reported: (orchestrators, workers)."""
        first = [self.orchestrator() for _ in range(orchestrators)]
        self.wait_for_orchestrators(orchestrators)
        # A worker that finds its topics joins at once.
        wait_until(lambda: self.kafka.partitions(self.topic("tasks")), 30, "the topics")
        then = [self.worker() for _ in range(workers)]
        self.wait_for_workers(workers)
        return first, then

    def wait_for_orchestrators(self, count):
        wait_until(lambda: self.database.value("select count(*) from kser.instances") == count, 30, f"{count} orchestrators")

    def wait_for_workers(self, count):
        """Until so many have reported and share the partitions between them."""
        wait_until(lambda: self.database.value("select count(*) from kser.workers where left_at is null") >= count, 30, f"{count} workers")
        wait_until(lambda: self.kafka.members(f"{self.prefix}.workers") == count, 30, f"a group of {count} workers")

    def submit(self, *tasks, name="test", **further):
        """One operation by kser.submit; returns its id as text. `further` are other members of a submission."""
        return self.submit_many([{"name": name, "tasks": list(tasks), **further}])[0]

    def submit_many(self, operations):
        rows = self.database.query("select id::text from kser.submit_many(%s::jsonb) as id", json.dumps(operations))
        return [row[0] for row in rows]

    def statuses(self, ids):
        """How many of the operations are in each status."""
        return Counter(dict(self.database.query("select status::text, count(*) from kser.operations where id = any (%s::uuid[]) group by status", ids)))

    def wait(self, ids, seconds=60):
        """Until all operations have ended: their statuses, counted. `ids` is one id or several."""
        ids = [ids] if isinstance(ids, str) else list(ids)
        def ended():
            statuses = self.statuses(ids)
            return statuses if statuses["SUCCESS"] + statuses["FAILED"] == len(ids) else None
        try:
            return wait_until(ended, seconds, f"the end of {len(ids)} operations", pause=0.1)
        except AssertionError as reason:
            raise AssertionError(f"{reason}\n{self.story()}") from None

    def tasks(self, id):
        """(position, status, attempt, retcode) of an operation's tasks."""
        return self.database.query("select position, status::text, attempt, retcode from kser.tasks where operation_id = %s order by position", id)

    def running(self):
        return self.database.value("select count(*) from kser.tasks where status = 'RUNNING'")

    def story(self):
        """What a reader wants to know about a cell that does not move."""
        parts = []
        for title, statement in (("operations", "select status, count(*) from kser.operations group by 1"),
                                 ("tasks", "select status, attempt, partition, count(*) from kser.tasks group by 1, 2, 3"),
                                 ("ready", "select queue, count(*), min(due_at) from kser.ready group by 1"),
                                 ("instances", "select name, floor, sleeping, beat_at from kser.instances"),
                                 ("workers", "select incarnation, slots, free, seen_at, left_at from kser.workers"),
                                 ("proofs", "select queue, epoch, committed, ends, passed, problems from kser.proofs"),
                                 ("history", "select kind, position, attempt, reason from kser.history order by id desc limit 10"),
                                 ("counters", "select * from kser.counters"),
                                 ("dead letters", "select topic, reason, count(*) from kser.dead_letters group by 1, 2")):
            parts.append(f"{title}: {[tuple(map(str, row)) for row in self.database.query(statement)]}")
        for topic in map(self.topic, ("tasks", "results")):
            parts.append(f"ends of {topic}: {self.kafka.ends(topic) if self.kafka.partitions(topic) else 'no such topic'}")
        return "\n".join(parts)

    def check_each_once(self, ids, tasks):
        """Every task of the operations (each has so many) ended SUCCESS and was executed exactly once; at its first attempt, but for those that a
        worker handed back before it had started them."""
        wrong = self.database.query("select operation_id, position, status, attempt from kser.tasks k where operation_id = any (%s::uuid[]) and (status <> 'SUCCESS'"
                                    " or attempt <> 1 + (select count(*) from kser.history h where h.operation_id = k.operation_id and h.position = k.position and h.kind = 'released'))"
                                    " limit 10", list(ids))
        assert not wrong, wrong
        executions = self.ledger.executions()
        wanted = {(id, position) for id in ids for position in range(tasks)}
        missing = wanted - set(executions)
        repeated = {key: count for key, count in executions.items() if key in wanted and count > 1}
        assert not missing and not repeated, f"{len(missing)} never executed, {len(repeated)} repeated: {list(missing)[:5]} {list(repeated.items())[:5]}"
