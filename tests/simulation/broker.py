"""A broker: partitions as logs, consumer groups, producers. Records have the truth about them attached, which the
actors do not see: which dispatch they belong to, whether they were lost, forged or repeated."""


class Record:
    __slots__ = ("kind", "body", "launch", "named", "log", "offset", "time", "state", "vanished", "forged", "repeated", "applied", "sender", "cause", "epoch")

    def __init__(self, kind, body, launch=None, named=(), sender=None, cause=None, epoch=0):
        self.kind = kind          # task, result, claim, heartbeat, release, control
        self.body = body
        self.launch = launch      # the dispatch that it is or answers
        self.named = named        # … the dispatches that it names
        self.sender = sender
        self.cause = cause        # the reply whose application sent it
        self.epoch = epoch
        self.log = self.offset = self.time = None
        self.state = "queued"     # queued in a producer, logged, dropped
        self.vanished = False     # acknowledged, and gone
        self.forged = False       # nobody's answer
        self.repeated = False     # written once more, and by nobody of ours
        self.applied = 0          # how often a lane has handed it to the database

    def copy(self):
        other = Record(self.kind, self.body, self.launch, self.named, self.sender, self.cause, self.epoch)
        other.forged = self.forged
        return other

    def __str__(self):
        where = f"{self.log.name}@{self.offset}" if self.log else self.state
        return f"{self.kind} {where} {self.launch or ' '.join(map(str, self.named))}"


class Log:
    """One partition."""

    def __init__(self, name, number):
        self.name = f"{name}/{number}"
        self.number = number
        self.records = []
        self.start = 0  # what is before is no longer kept

    @property
    def end(self):
        return len(self.records)

    def append(self, record, now):
        record.log, record.offset, record.time, record.state = self, len(self.records), now, "logged"
        self.records.append(record)


class Group:
    """A consumer group of one topic. Members are actors with lost(partition) and assigned(partition)."""

    def __init__(self, logs):
        self.logs = logs
        self.committed = [None] * len(logs)
        self.marked = [False] * len(logs)
        self.owner = [None] * len(logs)
        self.members = []
        self.generation = 0

    def commit(self, member, generation, partition, offset):
        """False: it is not this member's any more."""
        if self.owner[partition] is not member or generation != self.generation:
            return False
        self.committed[partition] = offset
        self.marked[partition] = True
        return True

    def position(self, partition):
        """Where a new owner begins: the committed offset, or the earliest record where there is none or it is out of range."""
        log, offset = self.logs[partition], self.committed[partition] or 0
        return offset if log.start <= offset <= log.end else log.start

    def assign(self, rng):
        """Gives the partitions to the members, who have let go of all of them."""
        self.generation += 1
        for partition in range(len(self.logs)):
            self.owner[partition] = rng.choice(self.members) if self.members else None
        for member in self.members:
            member.assigned(self.generation, [p for p, owner in enumerate(self.owner) if owner is member])


class Producer:
    """Records on their way to the broker and the acknowledgements on their way back. Of one sender and one partition the
    order stays (it is idempotent); partitions overtake each other."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.queue = []
        self.unacknowledged = []

    def send(self, record, log, acknowledged=None):
        self.queue.append((record, log, acknowledged))

    def idle(self):
        return not self.queue and not self.unacknowledged

    def deliver(self, rng=None):
        """One record reaches the broker."""
        if not self.queue:
            return
        place = 0
        if rng and len(self.queue) > 1:
            log = rng.choice(self.queue)[1]
            place = next(i for i, entry in enumerate(self.queue) if entry[1] is log)
        entry = self.queue.pop(place)
        entry[1].append(entry[0], self.world.now)
        self.world.logged(entry[0])
        self.unacknowledged.append(entry)

    def acknowledge(self):
        """The broker's acknowledgements arrive."""
        entries, self.unacknowledged = self.unacknowledged, []
        for _, _, acknowledged in entries:
            if acknowledged:
                acknowledged()

    def flush(self):
        while self.queue or self.unacknowledged:
            while self.queue:
                self.deliver()
            self.acknowledge()

    def crash(self, rng):
        """The process is gone: what was on its way arrives now or never."""
        for record, log, _ in self.queue:
            if rng.random() < 0.3:
                log.append(record, self.world.now)
                self.world.logged(record)
            else:
                record.state = "dropped"
        self.queue, self.unacknowledged = [], []

    def purge(self):
        for record, _, _ in self.queue:
            record.state = "dropped"
        self.queue, self.unacknowledged = [], []

    def records(self):
        return [entry[0] for entry in self.queue] + [entry[0] for entry in self.unacknowledged]

    def floor(self, otherwise):
        return min((record.epoch for record in self.records() if record.kind == "task"), default=otherwise)
