"""An orchestrator as kser-orchestrator behaves: lanes that apply replies, a keeper that admits and beats, rounds that look
for what was lost. Each call of the database is three steps (it begins, the database does it, the answer arrives), so that
other threads, other processes and crashes come in between."""

import json
from collections import Counter

from simulation import twins
from simulation.broker import Producer, Record
from simulation.world import DISPATCH_AGE, FIRST_SECOND, KEEPER_LEASE, LEASE, SILENCE

FOREVER = 1 << 62
TWIN_RATE = 0.1  # of the calls with plain successes: how many are also compared with apply_results

DISPATCH = ("uuid", "operation_id", "position", "attempt", "generation", "epoch", "partition", "deadline_ms", "limit_ms", "start_by_ms", "flags")
COLUMNS = 'uuid, operation_id, "position", attempt, generation, epoch, partition, deadline_ms, limit_ms, start_by_ms, flags'
ADMIT = f"select {COLUMNS} from kser.admit(%s, %s)"
APPLY = (f"select input, verdict, freed, queue, {COLUMNS} from kser.apply_results(%s::uuid[], %s::uuid[], %s::integer[], %s::integer[], %s::bigint[], %s::bigint[],"
         " %s::bigint[], %s::integer[], %s::text[], null::text[], null::text[], %s::json[], null::json[], %s::jsonb[], %s::boolean[], %s::text[], %s::integer[], %s::integer[], %s)")
PLAIN = ("select input, freed, queue, uuid, attempt, epoch, deadline_ms, limit_ms, start_by_ms, flags from sim.apply_plain(%s, %s, %s::uuid[], %s::integer[], %s::uuid[], %s::integer[],"
         " %s::bigint[], %s::integer[], %s::integer[], %s::text[], null::text[], null::text[], %s::json[], null::json[])")
BEAT = ("select registered, generation, epoch, keeper, in_flight, overdue, stops from kser.beat(%s::uuid, %s, 'simulation', %s, false, %s,"
        f" interval '{KEEPER_LEASE} s', interval '{SILENCE} s')")
HOLD = f"select uuid, operation_id, \"position\", attempt, generation from kser.hold(%s, %s::jsonb, interval '{LEASE} s')"


def name_of(uuid, operation, position, attempt, generation):
    return {"uuid": uuid, "op": operation, "pos": position, "attempt": attempt, "gen": generation}


def is_plain(body, generation):
    return body["retcode"] == 0 and body["gen"] == generation and not body.get("temporary") and body.get("plan") is None


def column(batch, key, dump=False):
    values = [taken.record.body.get(key) for taken in batch]
    return [json.dumps(value) if dump and value is not None else value for value in values]


def answers(batch):
    return [taken.record.log.number << 48 | taken.record.offset for taken in batch]


def careful_arguments(batch, targets):
    """All but whether it is to wait."""
    plans = column(batch, "plan", True)
    return (column(batch, "uuid"), column(batch, "op"), column(batch, "pos"), column(batch, "attempt"), column(batch, "gen"), column(batch, "epoch"), answers(batch),
            column(batch, "retcode"), column(batch, "error"), column(batch, "retval", True), plans if any(plans) else None, column(batch, "temporary"), column(batch, "worker"),
            [100] * len(batch), targets)


def plain_arguments(batch, targets):
    return (batch[0].record.body["gen"], max(column(batch, "epoch")), column(batch, "op"), column(batch, "pos"), column(batch, "uuid"), column(batch, "attempt"), answers(batch),
            [100] * len(batch), targets, column(batch, "worker"), column(batch, "retval", True))


class Thread:
    """What a lane and the keeper have in common: a producer, and a floor while a call is under way."""

    def __init__(self, process, name):
        self.process = process
        self.world = process.world
        self.name = f"{process.name}.{name}"
        self.producer = Producer(self.world, self.name)
        self.call_floor = None
        self.rows = None        # the database's answer, not looked at yet

    def begin_call(self):
        self.call_floor = self.process.epoch

    def end_call(self):
        self.call_floor = None

    def floor(self):
        floor = FOREVER if "floor" in self.world.switches else self.producer.floor(FOREVER)
        if self.call_floor is not None and "call_under_way" not in self.world.switches:
            floor = min(floor, self.call_floor)
        return floor

    def send(self, launch, row, cause=None, acknowledged=None):
        stamp = {**name_of(row["uuid"], row["operation_id"], row["position"], row["attempt"], row["generation"]), "epoch": row["epoch"],
                 "limit_ms": row["limit_ms"], "start_by": row["start_by_ms"], "flags": row["flags"], "queue": row["queue"]}
        record = Record("task", stamp, launch, (), self, cause, row["epoch"])
        self.producer.send(record, self.world.tasks[row["queue"]][row["partition"]], acknowledged)

    def may_send(self):
        return self.world.now - self.process.beat_at < DISPATCH_AGE and self.process.joined


class Taken:
    """A reply that was fetched, until the offset has passed it."""
    __slots__ = ("record", "finished", "assignment")

    def __init__(self, record, assignment):
        self.record, self.assignment, self.finished = record, assignment, False


class Lane(Thread):
    def __init__(self, process, number):
        super().__init__(process, f"lane{number}")
        self.group = self.world.orchestrators
        self.assignment = -1
        self.partitions = []
        self.position = {}
        self.taken = {}      # partition → replies, by offset
        self.batch = []
        self.answered = []   # of the batch, what a call under way is about
        self.plain_tried = False
        self.notes = []      # claims, heartbeats and releases to be told to the database
        self.group.members.append(self)

    # --- The group

    def assigned(self, generation, partitions):
        self.assignment = generation
        self.partitions = partitions
        self.position = {p: self.group.position(p) for p in partitions}
        self.taken = {p: [] for p in partitions}

    def revoked(self):
        """In good order: ends the call, waits for acknowledgements, commits."""
        if self.process.stalled:
            self.cut_off()
            return
        if self.rows is not None:
            self.hand_over()
        self.forget_batch()
        self.producer.flush()
        self.commit()
        self.partitions, self.taken = [], {}

    def cut_off(self):
        """The partitions go to somebody else; a call that is under way is not called back."""
        self.partitions, self.taken = [], {}
        if self.rows is None:
            self.forget_batch()

    def forget_batch(self):
        self.batch, self.notes, self.rows, self.plain_tried = [], [], None, False
        self.end_call()

    def rejoin(self):
        """Removed from the instances: nothing of what was to be sent may arrive, so its replies must come again."""
        self.producer.purge()
        self.forget_batch()
        self.partitions, self.taken = [], {}
        if self in self.group.members:
            for p, owner in enumerate(self.group.owner):
                if owner is self:
                    self.position[p] = self.group.position(p)
                    self.partitions.append(p)
                    self.taken[p] = []
            self.assignment = self.group.generation if self.partitions else self.assignment

    def finish(self, taken):
        taken.finished = True

    def commit(self):
        for partition in self.partitions:
            offset = self.position[partition]
            for taken in self.taken[partition]:
                if not taken.finished:
                    offset = taken.record.offset
                    break
            if offset != self.group.committed[partition] and self.group.commit(self, self.assignment, partition, offset):
                self.world.tell("%s commits results/%s at %s", self.name, partition, offset)
            self.taken[partition] = [taken for taken in self.taken[partition] if taken.record.offset >= offset]

    # --- One step

    def has_work(self):
        return self.rows is not None or bool(self.batch or self.notes) or any(self.position[p] < self.group.logs[p].end for p in self.partitions)

    def step(self):
        if self.rows is not None:
            self.hand_over()
        elif self.notes:
            self.note(*self.notes.pop(0))
        elif self.batch and self.call_floor is None:
            self.begin_call()
        elif self.batch:
            self.apply()
        else:
            self.fetch()

    def fetch(self):
        for partition in self.partitions:
            log = self.group.logs[partition]
            for _ in range(self.world.rng.randint(1, 4)):
                if self.position[partition] >= log.end:
                    break
                record = log.records[self.position[partition]]
                self.position[partition] += 1
                if record.vanished:
                    continue
                taken = Taken(record, self.assignment)
                self.taken[partition].append(taken)
                if record.kind == "result":
                    self.batch.append(taken)
                else:
                    self.notes.append((taken, record))
                if "offset_before_apply" in self.world.switches:
                    self.finish(taken)

    # --- Claims, heartbeats, releases

    def note(self, taken, record):
        body = record.body
        record.applied += 1
        if record.kind == "release":
            self.world.tell("%s releases %s", self.name, record)
            self.world.about_to_release(record)
            for freed_queue, freed in self.world.call("release", "select queue, freed from kser.release(%s, %s::jsonb)", body["worker"], json.dumps(body["tasks"])):
                self.process.freed[freed_queue] += freed
        else:
            if record.kind == "heartbeat":
                self.world.call("seen", "select kser.seen(%s, %s::jsonb)", body["worker"], json.dumps(body["detail"]))
            if body["claims"] and not (record.kind == "heartbeat" and "heartbeat_is_no_claim" in self.world.switches and not self.known(body)):
                self.hold(body)
        if self.unknown_outcome("note"):
            self.notes.insert(0, (taken, record))
        else:
            self.finish(taken)

    def known(self, body):
        """For the mutant whose heartbeats only renew: whether all that it names is claimed already."""
        known = self.world.call("known", "select count(*) from jsonb_to_recordset(%s::jsonb) as n (op uuid, pos integer, attempt integer)"
                                " join kser.claims c on c.operation_id = n.op and c.position = n.pos and c.attempt = n.attempt", json.dumps(body["claims"]))
        return known[0][0] == len(body["claims"])

    def hold(self, body):
        refused = self.world.call("hold", HOLD, body["worker"], json.dumps(body["claims"]))
        self.world.tell("%s holds for %s %s names, %s refused", self.name, body["worker"], len(body["claims"]), len(refused))
        if refused:
            self.world.saw("told_to_stop", len(refused))
            self.world.control.append(("stop", [name_of(*row) for row in refused]))

    def unknown_outcome(self, what):
        """The call was done, its outcome did not arrive: called again."""
        if self.world.rng.random() < self.world.unknown_rate:
            self.world.saw(f"unknown_outcome_of_{what}")
            return True
        return False

    # --- Results

    def apply(self):
        """The plain successes first, then what is left: two calls, with all else that may happen between them."""
        self.batch.sort(key=lambda taken: (taken.record.body["op"], taken.record.body["pos"]))
        plain = [] if self.plain_tried else self.plain()
        self.plain_tried = True
        self.answered = plain or self.batch
        targets = [self.world.rng.randrange(len(self.world.tasks[taken.record.body.get("queue", "")])) for taken in self.answered]
        arguments = careful_arguments(self.answered, targets)
        if plain:
            if self.world.rng.random() < TWIN_RATE:
                self.compare_twins(plain_arguments(plain, targets), arguments)
            self.apply_plain(plain_arguments(plain, targets), targets)
            return
        rows = self.world.call("apply", APPLY, *arguments, self.world.rng.random() < 0.3)
        self.rows = [self.applied(row) for row in rows]
        if len(rows) != len(self.answered):
            self.world.violation(f"{len(self.answered)} replies were applied and {len(rows)} verdicts came back")

    def plain(self):
        """Successes that say nothing else, each the only reply to its task; all of one generation, which need not be the present one."""
        generation = self.world.rng.choice(self.batch).record.body["gen"]
        names = Counter((taken.record.body["op"], taken.record.body["pos"]) for taken in self.batch)
        return [taken for taken in self.batch if is_plain(taken.record.body, generation) and names[taken.record.body["op"], taken.record.body["pos"]] == 1]

    def apply_plain(self, arguments, targets):
        self.rows = []
        for row in self.world.call("apply_plain", PLAIN, *arguments):
            body = self.answered[row[0] - 1].record.body
            dispatch = (None,) if row[3] is None else (row[3], body["op"], body["pos"] + 1, row[4], body["gen"], row[5], targets[row[0] - 1], *row[6:])
            self.rows.append(self.applied((row[0], "won", row[1], row[2], *dispatch)))
        self.world.saw("plain_won", len(self.rows))
        self.world.saw("plain_left", len(self.answered) - len(self.rows))

    def compare_twins(self, plain, careful):
        problem = twins.difference(self.world.session, (PLAIN, plain), (APPLY, careful))
        self.world.saw("twins_compared")
        if problem:
            self.world.violation(problem)

    def applied(self, row):
        """Notes the truth of one row of the answer, whatever becomes of the answer."""
        world = self.world
        taken = self.answered[row[0] - 1]
        record, verdict = taken.record, row[1]
        record.applied += 1
        world.saw(f"verdict_{verdict}")
        world.tell("%s applies %s: %s, retcode %s", self.name, record, verdict, record.body["retcode"])
        if verdict == "won":
            world.won(record, record.body["retcode"])
        elif verdict in ("late", "unknown") and not record.forged:
            world.not_taken(record)
        if row[4] is None:
            return taken, verdict, row[2], None, None
        dispatch = dict(zip(DISPATCH, row[4:]), queue=row[3])
        return taken, verdict, row[2], dispatch, world.dispatched(dispatch, record, verdict == "repeated")

    def hand_over(self):
        if self.unknown_outcome("apply"):
            self.rows = None
            self.plain_tried = self.world.rng.random() < 0.5
            return
        if not self.may_send():
            self.world.saw("too_old_to_send")
            self.rows = None
            self.end_call()
            return
        for taken, verdict, freed, dispatch, launch in self.rows:
            if freed is not None:
                self.process.freed[freed] += 1
            if verdict == "busy":
                self.world.violation("a row was busy while nobody else was there")
            if verdict == "ahead":
                self.process.halt(taken.record.body["gen"])
            if dispatch is None or "offset_before_acknowledgement" in self.world.switches:
                self.finish(taken)
            if dispatch is not None:
                self.send(launch, dispatch, taken.record, lambda taken=taken: self.finish(taken))
        settled = [row[0] for row in self.rows]
        self.rows, self.batch = None, [taken for taken in self.batch if taken not in settled]
        self.plain_tried = bool(self.batch)
        self.end_call()

    def holds(self, launch):
        return any(row[4] is launch for row in self.rows or ())


class Keeper(Thread):
    """Admits. Its beat is a step of its own, which may come in the middle of an admission."""

    def __init__(self, process):
        super().__init__(process, "keeper")
        self.wanted = None   # (queue, places) of the admission that has begun

    def step(self):
        if self.rows is not None:
            self.hand_over()
        elif self.wanted is not None:
            self.admit()
        else:
            self.count()
            queues = [queue for queue in self.world.queues if self.process.freed[queue] > 0]
            if queues:
                self.begin(self.world.rng.choice(queues))

    def turn(self, look):
        """Admits all that there is room for, as far as it is due. Not `look`: only in the places that lanes have freed."""
        while self.rows is not None or self.wanted is not None:
            self.step()
        if look:
            self.count()
        for queue in self.world.queues:
            while self.process.freed[queue] > 0:
                self.begin(queue)
                self.admit()
                self.hand_over()

    def count(self):
        """Counts the windows, where it has the role."""
        if self.process.role:
            for queue, free in self.world.call("window_free", "select queue, free from kser.window_free()"):
                if queue in self.world.tasks:
                    self.process.freed[queue] = free

    def begin(self, queue):
        self.wanted = (queue, min(self.process.freed[queue], self.world.rng.randint(1, 4)))
        self.begin_call()

    def admit(self):
        queue, places = self.wanted
        targets = [self.world.rng.randrange(len(self.world.tasks[queue])) for _ in range(places)]
        self.rows = []
        for row in self.world.call("admit", ADMIT, queue, targets):
            dispatch = dict(zip(DISPATCH, row), queue=queue)
            self.rows.append((dispatch, self.world.dispatched(dispatch)))
        # Less than there was room for: nothing more is due.
        self.process.freed[queue] = self.process.freed[queue] - places if len(self.rows) == places else 0

    def hand_over(self):
        if self.world.rng.random() < self.world.unknown_rate:
            self.world.saw("unknown_outcome_of_admit")
        elif self.may_send():
            for dispatch, launch in self.rows:
                self.send(launch, dispatch)
        elif self.rows:
            self.world.saw("admitted_and_not_sent")
        self.forget()

    def forget(self):
        self.rows = self.wanted = None
        self.end_call()

    def holds(self, launch):
        return any(row[1] is launch for row in self.rows or ())


class Rounds:
    """The search for what was lost, a stage at a time."""

    def __init__(self, process):
        self.process = process
        self.world = process.world
        self.stage = None
        self.since = None       # before that, every claim counts as renewed
        self.finished_at = None
        self.begun_at = -99
        self.replies = None     # the ends of the results as noted last

    def begin(self):
        world = self.world
        (self.epoch, self.floor, self.at_text, self.at), = world.call(
            "round_begin", "select epoch, floor, at::text, extract(epoch from at)::float8 from kser.round_begin()")
        self.begun_at = world.now
        if self.since is None or self.finished_at is None or world.now - self.finished_at > 6:
            self.since = self.at_text
        if "replies_noted_before_the_offsets" in world.switches:
            self.note_replies()
        world.tell("%s begins round %s, floor %s", self.process.name, self.epoch, self.floor)

    def sample(self):
        for queue, logs in self.world.tasks.items():
            valid = self.epoch if self.floor is None else min(self.epoch, self.floor)
            self.world.call("sample", "select kser.sample(%s, %s, %s, %s::bigint[])", queue, self.epoch, valid, [log.end for log in logs])

    def look(self):
        for queue, logs in self.world.tasks.items():
            group = self.world.worker_groups[queue]
            self.world.call("look", "select kser.look(%s, %s, %s::bigint[], %s::boolean[], %s::bigint[], %s::bigint[])", queue, self.epoch, list(group.committed),
                            list(group.marked), [log.start for log in logs], [log.end for log in logs])

    def note_replies(self):
        self.replies = [log.end for log in self.world.results]

    def note(self):
        if "replies_noted_before_the_offsets" not in self.world.switches:
            self.note_replies()

    def wait(self):
        """False while a lane has not passed what had been answered."""
        group = self.world.orchestrators
        return "no_wait_for_the_replies" in self.world.switches or all(group.position(q) >= end for q, end in enumerate(self.replies))

    def expire(self):
        rows = self.world.call("expire", f"select operation_id, \"position\", attempt, worker from kser.expire(%s::timestamptz, %s::timestamptz, interval '{LEASE} s')",
                               self.at_text, self.since)
        for operation, position, attempt, worker in rows:
            self.world.was_expired(operation, position, attempt, worker, self.at, self.replies)

    def lose(self):
        for queue in self.world.queues:
            for row in self.world.call("lose", 'select operation_id, "position", attempt from kser.lose(%s, %s)', queue, self.epoch):
                self.world.was_lost(*row)
        self.finished_at = self.world.now
        self.world.saw("round_finished")

    STAGES = (begin, sample, look, note, wait, expire, lose)
    STAGES_WITHOUT_GATE = (begin, expire, sample, look, note, wait, lose)

    def step(self):
        """One stage; False when it can go no further now."""
        if not self.process.role or not self.process.joined:
            self.stage = self.since = self.finished_at = None
            return False
        if self.stage is None:
            if self.world.now - self.begun_at < 2 or not self.process.in_flight:
                return False
            self.stage = 0
        gated = "no_gate_of_a_lease" not in self.world.switches
        stages = self.STAGES if gated else self.STAGES_WITHOUT_GATE
        if stages[self.stage](self) is False:
            if not gated:
                self.stage, self.finished_at = None, self.world.now
            elif self.world.rng.random() < self.world.broken_round_rate:
                self.world.saw("round_broken_off")  # the broker did not answer
                self.stage = None
            return False
        self.stage = self.stage + 1 if self.stage + 1 < len(stages) else None
        return True

    def run(self):
        while self.step() and self.stage is not None:
            pass


class Process:
    """One orchestrator."""

    def __init__(self, world, number, lanes):
        self.world = world
        self.name = f"o{number}"
        self.id = f"00000000-0000-4000-8000-{world.rng.getrandbits(48):012x}"
        self.alive = True
        self.stalled = False
        self.registered = False     # the truth: its row is there
        self.joined = False         # what it knows
        self.role = False
        self.epoch = 0
        self.told_generation = None  # to the workers, in this term
        self.beat_at = -99.0
        self.freed = dict.fromkeys(world.queues, 0)
        self.in_flight = self.overdue = self.stops = False
        self.keeper = Keeper(self)
        self.lanes = [Lane(self, i) for i in range(lanes)]
        self.rounds = Rounds(self)

    def threads(self):
        return [self.keeper, *self.lanes]

    def producers(self):
        return [thread.producer for thread in self.threads()]

    def holds(self, launch):
        return any(thread.holds(launch) for thread in self.threads())

    def floor(self):
        return min([self.epoch, *(thread.floor() for thread in self.threads())])

    def beat(self):
        world = self.world
        (registered, generation, epoch, role, in_flight, overdue, stops), = world.call("beat", BEAT, self.id, self.name, self.floor(), not self.joined)
        for other in world.processes:
            if other.registered and other is not self and world.now - other.beat_at > SILENCE and role:
                self.notice_removed(other)
        if not registered:
            self.removed()
            return
        if role and not self.role:
            world.saw("keeper_takes_over")
        self.registered = self.joined = True
        self.beat_at = world.now
        self.epoch = epoch
        self.role = role
        self.in_flight, self.overdue, self.stops = in_flight, overdue, stops
        if not role:
            self.told_generation = None
        elif self.told_generation != generation:
            world.control.append(("generation", generation))
            self.told_generation = generation

    def notice_removed(self, other):
        gone = not self.world.session.look("select 1 from kser.instances where id = %s", other.id)
        if gone:
            other.registered = False

    def removed(self):
        """It was silent for too long: what it has not sent it must not send any more."""
        self.world.tell("%s was removed", self.name)
        self.world.saw("instance_removed")
        self.joined = self.role = self.registered = False
        self.told_generation = None
        self.keeper.producer.purge()
        self.keeper.forget()
        for lane in self.lanes:
            lane.rejoin()

    def publish(self):
        """What the keeper does about deadlines and stops."""
        if not self.role:
            return
        if self.overdue:
            self.world.saw("overdue", self.world.call("overdue", "select kser.overdue()")[0][0])
        if self.stops:
            rows = self.world.call("stops_open", "select uuid, operation_id, \"position\", attempt, generation from kser.stops_open()")
            if rows:
                self.world.saw("stop_published", len(rows))
                self.world.control.append(("stop", [name_of(*row) for row in rows]))

    def spare(self):
        if self.role:
            for queue, _, full, spare in self.world.call("window_free", "select queue, free, full_partitions, spare from kser.window_free()"):
                if spare and queue in self.world.tasks:
                    self.world.saw("spare_told")
                    self.world.control.append(("spare", (queue, spare)))

    def halt(self, generation):
        world = self.world
        (before, _), = world.session.look("select halted, generation from kser.meta")
        world.call("halt", "select kser.halt('a reply of an epoch that is not yet', %s)", generation)
        (halted, present), = world.session.look("select halted, generation from kser.meta")
        world.halted = halted is not None
        world.saw("halted" if world.halted else "halted_too_late")
        if halted and not before and present != generation:
            world.violation("it was halted though the new generation had been drawn")

    def reconnect(self):
        """Its connections broke: what was under way is not answered; it must beat before it calls again."""
        for thread in self.threads():
            thread.rows = None
            thread.end_call()
        self.keeper.wanted = None
        self.rounds.stage = self.rounds.since = None
        self.role = False
        self.epoch = 0
        self.beat_at = -99.0

    def crash(self):
        self.world.tell("%s crashes", self.name)
        self.alive = False
        for thread in self.threads():
            thread.producer.crash(self.world.rng)
        for lane in self.lanes:
            self.world.orchestrators.members.remove(lane)

    def leave(self):
        """In good order: everything acknowledged, then it signs off."""
        for thread in self.threads():
            if thread.rows is not None:
                thread.hand_over()
        for lane in self.lanes:
            lane.revoked()
            self.world.orchestrators.members.remove(lane)
        self.keeper.producer.flush()
        self.world.call("leave", "select kser.leave(%s::uuid)", self.id)
        self.alive = self.registered = False
