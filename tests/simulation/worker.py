"""A worker as kser-worker behaves: fetches in order, starts in order, claims what runs longer, lets the offset pass only
what is answered or claimed, obeys what the control topic tells."""

from simulation.broker import Producer, Record
from simulation.world import HEARTBEAT

SLOTS = 2
CAREFUL, ALONE, STOP_WHEN_SILENT = 1, 2, 4


class Task:
    """A task in a worker's hands; records of one attempt share it."""

    def __init__(self, stamp, launch):
        self.stamp = stamp
        self.launch = launch
        self.state = "waiting"      # waiting, claiming, running, answering
        self.execution = None
        self.running_since = None
        self.claim_sent = self.claimed = False
        self.answered = False
        self.hangs = False


class Held:
    """A record that was fetched, until the offset has passed it."""
    __slots__ = ("offset", "task", "passed", "guarded")

    def __init__(self, offset, task, guarded=False):
        self.offset, self.task, self.passed, self.guarded = offset, task, task is None, guarded

    def may_pass(self):
        return self.passed or self.task.answered or self.task.claimed


class Worker:
    def __init__(self, world, number, queue):
        self.world = world
        self.name = f"w{number}"
        self.queue = queue
        self.logs = world.tasks[queue]
        self.group = world.worker_groups[queue]
        self.producer = Producer(world, self.name)
        self.alive = True
        self.frozen = False
        self.draining = False
        self.partitions = []        # assigned, as far as it knows
        self.group_generation = -1
        self.position = {}
        self.end_at_assignment = {}
        self.held = {}              # partition → records not passed, by offset
        self.tasks = {}             # identity → Task
        self.stopped = set()
        self.control_position = len(world.control)
        self.heartbeat_at = world.now
        self.told_at = world.now    # its last acknowledged heartbeat was sent then
        self.group.members.append(self)

    # --- The group

    def assigned(self, generation, partitions):
        self.group_generation = generation
        self.partitions = partitions
        self.position = {p: self.group.position(p) for p in partitions}
        self.end_at_assignment = {p: self.logs[p].end for p in partitions}
        self.held = {p: [] for p in partitions}

    def revoked(self):
        """Lets go in good order: claims what runs, forgets what has not started, commits."""
        if self.frozen:
            self.cut_off()
            return
        self.let_go_of_waiting()
        for task in list(self.tasks.values()):
            if task.state == "running" and not task.claim_sent:
                self.claim(task)
        self.producer.flush()
        self.commit()
        self.forget_partitions()

    def cut_off(self):
        """The partitions go to somebody else without a word: what runs runs on, and may run again elsewhere."""
        self.explain_repeats()
        self.let_go_of_waiting()
        self.forget_partitions()

    def explain_repeats(self):
        """What was fetched and not committed comes again."""
        for partition, records in self.held.items():
            for held in records:
                if held.task and held.offset >= (self.group.committed[partition] or 0):
                    self.world.explain(held.task.launch)

    def let_go_of_waiting(self):
        """Forgets what has not started; what was claimed is handed back, its offset may have passed."""
        for task in [task for task in self.tasks.values() if task.state in ("waiting", "claiming")]:
            if task.claim_sent:
                self.release(task, "unstarted")
            else:
                self.drop([task])

    def drop(self, tasks):
        for task in tasks:
            self.tasks.pop(self.identity(task.stamp), None)

    def forget_partitions(self):
        self.partitions, self.held = [], {}

    def commit(self):
        for partition in self.partitions:
            offset = self.position[partition]
            for held in self.held[partition]:
                if not held.may_pass() and "offset_before_the_answer" not in self.world.switches:
                    offset = held.offset
                    break
            if offset != self.group.committed[partition] and self.group.commit(self, self.group_generation, partition, offset):
                self.world.tell("%s commits %s at %s", self.name, self.logs[partition].name, offset)
            self.held[partition] = [held for held in self.held[partition] if held.offset >= offset or (held.task and held.task.state in ("waiting", "claiming"))]

    # --- Taking

    @staticmethod
    def identity(stamp):
        return (stamp["uuid"], stamp["attempt"], stamp["gen"])

    def holds(self, launch):
        return any(task.launch is launch for task in self.tasks.values())

    def poll(self):
        """Fetches one record."""
        waiting = sum(task.state in ("waiting", "claiming") for task in self.tasks.values())
        ready = [p for p in self.partitions if self.position[p] < self.logs[p].end]
        if not ready or waiting >= 4 or self.draining:
            return False
        partition = self.world.rng.choice(ready)
        log = self.logs[partition]
        if self.position[partition] < log.start:
            self.position[partition] = log.start
        if self.position[partition] >= log.end:
            return True
        record = log.records[self.position[partition]]
        self.position[partition] += 1
        if not record.vanished:
            self.take(partition, record)
        return True

    def take(self, partition, record):
        stamp = record.body
        identity = self.identity(stamp)
        task = self.tasks.get(identity)
        if task:
            self.world.saw("joined")
        else:
            task = self.tasks[identity] = Task(stamp, record.launch)
        self.held[partition].append(Held(record.offset, task, record.offset < self.end_at_assignment[partition]))
        self.world.tell("%s has %s", self.name, record)
        if identity in self.stopped and task.state == "waiting":
            self.release(task, "stopped")

    # --- Running

    def start(self):
        """Starts what comes next in each partition, as far as there are slots."""
        for partition in self.partitions:
            for held in self.held[partition]:
                task = held.task
                if task is None or task.state in ("running", "answering"):
                    continue
                if not self.begin(task, held.guarded or task.stamp["flags"] & CAREFUL):
                    break

    def begin(self, task, careful):
        running = [other for other in self.tasks.values() if other.state == "running"]
        if len(running) >= SLOTS or any(other.stamp["flags"] & ALONE for other in running):
            return False
        if task.stamp["flags"] & ALONE and running:
            self.release(task, "busy")
            return True
        if careful and not task.claimed:
            if not task.claim_sent:
                task.state = "claiming"
                self.world.saw("claimed_before_the_start")
                self.claim(task)
            return False
        if task.stamp.get("start_by") and self.world.now * 1000 > task.stamp["start_by"]:
            self.world.saw("started_too_late")
            self.answer(task, {"retcode": 504, "error": "Timeout"})
            return True
        if task.stamp["flags"] & ALONE:
            self.world.saw("ran_alone")
        task.state = "running"
        task.running_since = self.world.now
        task.execution = self.world.execute(task.launch, self)
        task.hangs = bool(task.stamp.get("limit_ms")) and self.world.rng.random() < self.world.hang_rate
        return True

    def finish(self, task):
        """A running task ends by itself."""
        world, rng = self.world, self.world.rng
        task.execution.ended = world.tick()
        outcome = {"retcode": 0, "error": None, "retval": {"x": task.execution.number}}
        chance = rng.random()
        if task.stamp.get("limit_ms") and (world.now - task.running_since) * 1000 > task.stamp["limit_ms"]:
            outcome = {"retcode": 504, "error": "Timeout", "retval": {"x": task.execution.number}}
        elif chance < world.failure_rate:
            outcome = {"retcode": 1, "error": "Broken", "retval": {"x": task.execution.number}, "temporary": rng.random() < 0.5}
            world.saw("failure")
        elif chance < world.failure_rate + world.plan_rate and world.plans_left > 0:
            world.plans_left -= 1
            outcome["plan"] = [{"entrypoint": "planned"} for _ in range(rng.randint(1, 2))]
            world.saw("plan")
        self.answer(task, outcome)

    def answer(self, task, outcome):
        task.state = "answering"
        self.send("result", {**task.stamp, "worker": self.name, **outcome}, task.launch, (), lambda: self.is_answered(task))

    def is_answered(self, task):
        task.answered = True
        identity = self.identity(task.stamp)
        if self.tasks.get(identity) is task:
            del self.tasks[identity]

    def release(self, task, reason):
        """Hands a task back: not started, or ended because somebody asked for it."""
        if task.execution and task.execution.ended is None:
            task.execution.ended = self.world.tick()
        task.state = "answering"
        self.world.saw(f"release_{reason}")
        name = {**self.name_of(task), "reason": reason}
        self.send("release", {"worker": self.name, "tasks": [name]}, task.launch, (task.launch,), lambda: self.is_answered(task))

    @staticmethod
    def name_of(task):
        return {key: task.stamp[key] for key in ("uuid", "op", "pos", "attempt", "gen")}

    def send(self, kind, body, launch, named, acknowledged):
        record = Record(kind, body, launch, named, self)
        self.world.tell("%s sends %s of %s", self.name, kind, launch or ", ".join(map(str, named)))
        self.producer.send(record, self.world.rng.choice(self.world.results), acknowledged)

    # --- Claims

    def claim(self, task):
        task.claim_sent = True

        def acknowledged():
            task.claimed = True
            if task.state == "claiming":
                task.state = "waiting"
        self.send("claim", {"worker": self.name, "claims": [self.name_of(task)]}, None, (task.launch,), acknowledged)

    def heartbeat(self):
        named = [task for task in self.tasks.values() if task.claim_sent and task.state != "answering"]
        self.heartbeat_at = sent_at = self.world.now

        def acknowledged():
            self.told_at = sent_at
        running = sum(task.state == "running" for task in self.tasks.values())
        waiting = sum(task.state == "waiting" for task in self.tasks.values())
        body = {"worker": self.name, "claims": [self.name_of(task) for task in named], "detail": {
            "queue": self.queue, "slots": SLOTS, "free": SLOTS - running, "waiting": waiting, "claims": len(named), "partitions": self.partitions}}
        self.send("heartbeat", body, None, tuple(task.launch for task in named), acknowledged)

    def beats_due(self, now):
        """Whether it has to say something by then, if nothing holds it up."""
        named = any(task.claim_sent for task in self.tasks.values())
        return now - self.heartbeat_at >= (HEARTBEAT if named else 10)

    def claim_long_ones(self, now):
        for task in self.tasks.values():
            if task.state == "running" and not task.claim_sent and now - task.running_since >= 1:
                self.claim(task)

    # --- What it is told

    def listen(self):
        """Reads the control topic."""
        for kind, content in self.world.control[self.control_position:]:
            if kind == "stop":
                for name in content:
                    self.stop(self.identity(name))
            elif kind == "generation":
                self.drop([task for task in self.tasks.values() if task.state in ("waiting", "claiming") and task.stamp["gen"] != content])
                for records in self.held.values():
                    for held in records:
                        if held.task and held.task.stamp["gen"] != content and held.task.state in ("waiting", "claiming"):
                            held.passed, held.task = True, None
                            self.world.saw("worker_dropped_other_generation")
            elif kind == "spare" and content[0] == self.queue:
                for task in [t for t in self.tasks.values() if t.state == "waiting" and not t.claim_sent][:content[1]]:
                    self.release(task, "unstarted")
        self.control_position = len(self.world.control)

    def stop(self, identity):
        self.stopped.add(identity)
        task = self.tasks.get(identity)
        if task and task.state != "answering":
            self.world.saw("stopped_running" if task.state == "running" else "stopped_waiting")
            self.release(task, "stopped")

    # --- Life

    def obey_silence(self):
        """After six seconds without an acknowledged heartbeat, tasks that ask for it are ended."""
        if self.world.now - self.told_at > 6:
            for task in list(self.tasks.values()):
                if task.state == "running" and task.stamp["flags"] & STOP_WHEN_SILENT:
                    self.world.saw("ended_in_silence")
                    self.release(task, "stopped")

    def finish_some(self, chance):
        for task in list(self.tasks.values()):
            if task.state != "running":
                continue
            overrun = task.stamp.get("limit_ms") and (self.world.now - task.running_since) * 1000 > task.stamp["limit_ms"]
            if (not task.hangs and self.world.rng.random() < chance) or (task.hangs is False and overrun):
                self.finish(task)
            elif not task.hangs:
                self.world.activity += 1

    def drain(self):
        """Leaves in good order: hands back what was not started, waits for what runs."""
        self.draining = True
        self.world.saw("drain")
        for task in list(self.tasks.values()):
            if task.state in ("waiting", "claiming"):
                self.release(task, "unstarted")

    def left(self):
        """True once a draining worker has nothing more to do; it is gone then."""
        if not self.draining or self.tasks or not self.producer.idle():
            return False
        self.commit()
        self.alive = False
        self.group.members.remove(self)
        return True

    def crash(self):
        self.alive = False
        self.explain_repeats()
        self.producer.crash(self.world.rng)
        self.group.members.remove(self)
        self.world.tell("%s crashes", self.name)
