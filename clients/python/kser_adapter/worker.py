"""The worker: takes dispatches, runs them through the fleet's controller, reports, and commits what is reported.

Three threads. The one that calls run() executes tasks, as with kser's own consumer. `intake` owns the consumer: it takes
one record at a time, keeps the group served while a task runs, and commits behind the report. `beat` sends heartbeats and
claims and hears what the orchestrator says to all workers. What they share is a Job and a few flags under one lock.
"""

import logging
import os
import queue
import signal
import socket
import threading
import time
from collections import OrderedDict, namedtuple
from uuid import uuid4

from . import __version__, execution, seal, tracing, wire

logger = logging.getLogger(__name__)

CLAIM_AFTER = 1.0
CLAIM_EVERY = 2.0
BEAT_EVERY = 10.0
DESCRIBE_EVERY = 60.0
REVOKE_WAIT = 3.0
LAST_WAIT = 5.0
RETRY_AFTER = 1.0
REJOIN_AFTER = 12.0  # without an assignment for so long it joins the group anew, as the C workers' rejoin-after
REJOIN_MAX = 60.0
AHEAD_MAX = 2048
REMEMBERED = 10000


Record = namedtuple("Record", "topic partition offset value")


class Refused(Exception):
    """The broker will not take a record, now or later."""


class Remembered:
    """The last keys that came, for a look whether one was among them. Any thread."""

    def __init__(self, most=REMEMBERED):
        self.most = most
        self.keys = OrderedDict()
        self.lock = threading.Lock()

    def add(self, key):
        with self.lock:
            self.keys[key] = True
            self.keys.move_to_end(key)
            while len(self.keys) > self.most:
                self.keys.popitem(last=False)

    def __contains__(self, key):
        with self.lock:
            return key in self.keys


class Job:
    """One record on its way: taken by intake, executed, answered, committed."""

    def __init__(self, record, careful=False):
        self.record = record
        self.careful = careful      # another worker may have had it
        self.task = None            # wire.Task while it runs and can be claimed
        self.started = None
        self.claim_at = None        # when it is claimed next
        self.claim = None           # the last claim that was sent
        self.kept = True            # its partition is still ours
        self.passed = False         # its offset is committed
        self.pass_at = 0            # when that is tried next
        self.finished = threading.Event()


class Worker:
    def __init__(self, broker, controller, queue_name=""):
        self.broker = broker
        self.controller = controller
        self.queue_name = queue_name
        self.transport = seal.transport_of(controller)
        self.host = socket.gethostname()
        self.name = "{}:{}:{}".format(self.host, os.getpid(), uuid4().hex[:12])
        self.spans = tracing.open_spans(self.name)
        self.lock = threading.Lock()
        self.job = None                        # the one in hand
        self.jobs = queue.SimpleQueue()        # to the executing thread; None: there will be no more
        self.stopping = threading.Event()
        self.joined = threading.Event()
        self.ended = threading.Event()
        self.stopped = Remembered()            # attempts that are not to run (any more)
        self.answered = Remembered()           # attempts whose report is acknowledged
        self.generations = set()               # of the tasks seen so far
        self.old_generations = set()
        self.held = False                      # partitions are paused
        self.owed = {}                         # partition → offset whose commit did not get through
        self.owed_at = 0                       # when these are tried next
        self.careful_below = {}                # by partition, for this assignment
        self.unassigned = None                 # since when the group owes us an assignment, be it of no partition
        self.rejoin_after = REJOIN_AFTER       # how long that is borne: grows with each time that it did not help
        self.told_at = -BEAT_EVERY             # of the last heartbeat: when, and what it said
        self.told_free = True
        self.told_partitions = None
        self.failure = None

    # ---- the executing thread ----

    def run(self):
        """Works until stop() is called, or SIGTERM or SIGINT comes: the task in hand is finished and reported. SIGHUP reads the keys again."""
        before = self.hear_signals()
        threads = [threading.Thread(target=self.guarded, args=(work,), name=name) for name, work in (("intake", self.take), ("beat", self.beat))]
        for thread in threads:
            thread.start()
        try:
            for job in iter(self.jobs.get, None):
                self.execute(job)
        finally:
            self.stopping.set()
            threads[0].join()
            self.ended.set()
            threads[1].join()
            self.leave()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.failure:
            raise self.failure

    def stop(self, *_):
        """Any thread, any signal."""
        self.stopping.set()

    def hear_signals(self):
        if threading.current_thread() is not threading.main_thread():
            return {}
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload}
        return {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def reload(self, *_):
        try:
            self.transport.reload()
            logger.info("Adapter.Keys: read again")
        except (ValueError, OSError) as reason:
            logger.error("Adapter.Keys: cannot be used, the old ones stay: %s", reason)

    def guarded(self, work):
        """A thread that fails ends the worker: it must not live on half."""
        try:
            work()
        except Exception as reason:
            logger.exception("Adapter.Failed: %s", reason)
            self.failure = reason
        finally:
            self.stopping.set()
            if work == self.take:
                self.jobs.put(None)

    def execute(self, job):
        """To the acknowledged report of what became of the record. What nobody expected makes a dead letter, not a worker that dies
        of each record that it meets."""
        record = job.record
        try:
            self.settle(job)
        except Exception as reason:
            if not isinstance(reason, wire.Unusable):
                logger.exception("Adapter.Failed: %s", reason)
            logger.error("Adapter.Dead: %s[%s]@%s: %s", record.topic, record.partition, record.offset, reason)
            self.tell(wire.dead(self.name, record.topic, record.partition, record.offset, record.value, str(reason)))
        finally:
            job.finished.set()

    def settle(self, job):
        raw, task = self.read(job.record.value)
        if task.key is not None and (task.key in self.answered or self.is_dropped(task)):
            return
        if task.key is not None and task.key in self.stopped:
            self.tell(wire.report("release", self.name, tasks=[dict(task.name, reason="stopped")]))
        elif too_late(task):
            self.answer(task, wire.Failure(task, wire.failed(task.message.uuid, "Timeout", 504, "not started in time")))
        else:
            self.answer(task, self.execute_task(job, raw, task))
        if task.key is not None:
            self.answered.add(task.key)

    def read(self, value):
        if not value:
            raise wire.Unusable("the record is empty")
        try:
            raw = value.decode("utf-8")
            return raw, wire.Task(self.transport.open(raw))
        except wire.Unusable:
            raise
        except Exception as reason:  # whatever the library and its parsers throw
            raise wire.Unusable("cannot be read: {}{}".format(reason, told_of(reason))) from None

    def is_dropped(self, task):
        """Whether it is of a generation that another one has followed."""
        generation = task.stamp["gen"]
        with self.lock:
            self.generations.add(generation)
            return generation in self.old_generations

    def execute_task(self, job, raw, task):
        with self.lock:
            job.task = task if task.named else None
            job.started = time.monotonic()
            job.claim_at = job.started + CLAIM_AFTER
        try:
            if task.named and (task.careful or job.careful):
                self.claim_first(job)
            return execution.run(self.controller, raw, task.message, self.queue_name, self.spans)
        finally:
            with self.lock:
                job.task = None

    def claim_first(self, job):
        """Before the start, so that a task that kills its worker leaves a trace."""
        self.tell(self.claim_of(job.task))
        with self.lock:
            job.claim_at = time.monotonic() + CLAIM_EVERY

    def answer(self, task, outcome):
        """Sends the reply; what cannot be sent becomes an error, first with what came with the task and then without."""
        reason = self.try_answer(task, outcome)
        for bare in (False, True):
            if reason is None:
                return
            failure = wire.failed(task.message.uuid, "InternalError", 500, "the result is not usable: {}".format(reason))
            reason = self.try_answer(task, wire.Failure(task, failure, bare))
        if reason is not None:
            raise Refused(reason)

    def try_answer(self, task, outcome):
        """Why the reply cannot be sent; None when it is acknowledged."""
        try:
            self.tell(wire.reply(task, self.name, outcome))
            return None
        except Exception as reason:  # what the result has in it is the task's
            logger.error("Adapter.Unusable: %s[%s]: %s", task.message.entrypoint, task.message.uuid, reason)
            return str(reason)[:500].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")

    def tell(self, message):
        """Sends a report and waits for its acknowledgement, as long as it takes."""
        record = self.transport.seal(wire.encode(message))
        while not self.broker.send(record).wait():
            logger.warning("Adapter.Waiting: the broker does not acknowledge")
            time.sleep(RETRY_AFTER)

    # ---- intake ----

    def take(self):
        self.join()
        self.joined.set()
        try:
            while not self.stopping.is_set() and not is_told("TERMINATE_FILE"):
                if is_told("LOCK_FILE"):
                    self.pause()
                    continue
                self.commit_owed()
                self.rejoin_if_left_out()
                record = self.broker.poll(0.2)
                if record is not None:
                    self.work_off(record)
        finally:
            self.broker.leave()

    def rejoin_if_left_out(self):
        """A client that its group has forgotten may ask for ever without a word: its tasks would wait, and nobody would know why."""
        if self.unassigned is None or time.monotonic() < self.unassigned + self.rejoin_after:
            return
        logger.warning("Consumer.Rejoining: no assignment for %.0f s", self.rejoin_after)
        self.rejoin_after = min(2 * self.rejoin_after, REJOIN_MAX)
        self.broker.leave()
        self.join()

    def join(self):
        """With a new client. The wait for an assignment begins behind the one for the topic, which may be made any time later."""
        self.unassigned = float("inf")
        self.broker.join(self.assigned, self.revoked, self.stopping)
        if self.unassigned is not None:
            self.unassigned = time.monotonic()

    def pause(self):
        """kser's pause file: nothing is taken while it is there, but the group is served."""
        logger.warning("Consumer is paused")
        with self.lock:
            self.hold()
        while is_told("LOCK_FILE") and not self.stopping.is_set():
            self.serve()
            self.stopping.wait(1)
        with self.lock:
            self.go_on()

    def work_off(self, record):
        job = Job(record, self.is_careful(record))
        with self.lock:
            gone = record.partition not in self.broker.partitions()
            self.job = None if gone else job
        if gone:  # in between; should it come back to us, then with this record
            self.broker.give_back(record)
            return
        self.jobs.put(job)
        if not job.finished.wait(0.1):
            with self.lock:
                self.hold()
            while not job.finished.wait(0.1):
                self.serve()
                self.pass_claimed(job)
        with self.lock:
            self.job = None
            self.go_on()
        self.pass_record(job)

    def pass_claimed(self, job):
        """A task under claim is its worker's, whatever becomes of the partition: should the worker die, the lease tells, and nobody
        else comes across the record."""
        with self.lock:
            claimed = job.claim is not None and job.claim.acknowledged()
        if claimed and time.monotonic() >= job.pass_at:
            job.pass_at = time.monotonic() + RETRY_AFTER  # not at once again: the group may wait for this thread to poll
            self.pass_record(job)

    def pass_record(self, job):
        if job.kept and not job.passed:
            job.passed = self.commit(job.record.partition, job.record.offset + 1)

    def commit(self, partition, offset):
        """Whether it got through. If not it is owed: else, with nothing behind it, the record would come again after a rebalance."""
        if self.broker.commit(partition, offset):
            self.owed.pop(partition, None)
            return True
        self.owed[partition] = offset
        return False

    def commit_owed(self):
        for partition in set(self.owed) - set(self.broker.partitions()):  # another member's by now, which may have gone further
            self.owed.pop(partition, None)
        if self.owed and time.monotonic() >= self.owed_at:
            self.owed_at = time.monotonic() + RETRY_AFTER
            for partition, offset in list(self.owed.items()):
                self.commit(partition, offset)

    def hold(self):
        """No partition gives anything until go_on(). Both under the lock: clients may tell of an assignment in a thread of their own."""
        self.held = True
        self.broker.pause()

    def go_on(self):
        if self.held:
            self.held = False
            self.broker.resume()

    def serve(self):
        """Keeps the group served while nothing is taken."""
        record = self.broker.poll(0)
        if record is not None:
            self.broker.give_back(record)

    def is_careful(self, record):
        """Whether it was there when the partition came to us: another worker may have had it."""
        if record.partition not in self.careful_below:
            try:
                committed, end = self.broker.committed(record.partition), self.broker.end(record.partition)
            except Exception as reason:
                logger.warning("Consumer.Offsets: %s", reason)
                return True
            self.careful_below[record.partition] = min(max(committed, 0) + AHEAD_MAX, end)
        return record.offset < self.careful_below[record.partition]

    def assigned(self, partitions):
        self.unassigned, self.rejoin_after = None, REJOIN_AFTER
        with self.lock:
            for partition in partitions:
                self.careful_below.pop(partition, None)
            if self.held or self.job is not None:
                self.hold()

    def revoked(self, partitions, lost=False):
        """What does not get through now is owed no more: a commit for a partition that is gone would set its new owner's offset back."""
        self.unassigned = time.monotonic()
        self.pass_on(partitions, lost)
        for partition in partitions:
            self.owed.pop(partition, None)

    def pass_on(self, partitions, lost):
        """What runs is claimed, so that it stays ours, and its record passed; then nobody runs it again. Not when the partitions are
        lost: then others have them already."""
        owed = {partition: self.owed.pop(partition) for partition in partitions if partition in self.owed}
        for partition, offset in owed.items() if not lost else ():
            self.broker.commit(partition, offset)
        with self.lock:
            job = self.job
            if job is None or not job.kept or job.record.partition not in partitions:
                return
            task = job.task
        if task is not None:
            answered = self.broker.send(self.transport.seal(wire.encode(self.claim_of(task)))).wait(REVOKE_WAIT)
        else:
            answered = job.finished.wait(REVOKE_WAIT)
        if answered and not lost:
            self.pass_record(job)
        job.kept = False

    # ---- beat ----

    def beat(self):
        self.broker.listen()
        describe_at = 0
        while not self.ended.is_set():
            for value in self.broker.heard(0.2):
                self.hear(value)
            now = time.monotonic()
            if self.beat_is_due(now):
                self.send_beat(describe=now >= describe_at)
                describe_at = now + DESCRIBE_EVERY if now >= describe_at else describe_at
            self.claim_due(now)

    def beat_is_due(self, now):
        """Now and then; more often while a task is claimed, and at once when there is news: other partitions, free again. Not before
        there are topics: a producer would have the broker make them in its own way."""
        if not self.joined.is_set():
            return False
        with self.lock:
            claimed = self.job is not None and self.job.task is not None and now >= self.job.started + CLAIM_AFTER
            free = self.job is None
        news = sorted(self.broker.partitions()) != self.told_partitions or (free and not self.told_free)
        return news or now >= self.told_at + (CLAIM_EVERY if claimed else BEAT_EVERY)

    def claim_due(self, now):
        with self.lock:
            job = self.job
            if job is None or job.task is None or now < job.claim_at or job.task.key in self.stopped:
                return
            job.claim_at = now + CLAIM_EVERY
            job.claim = self.broker.send(self.transport.seal(wire.encode(self.claim_of(job.task))))

    def claim_of(self, task):
        return wire.report("claim", self.name, claims=[task.name])

    def send_beat(self, describe=False, leaving=False):
        with self.lock:
            busy = self.job is not None
            claims = int(busy and self.job.task is not None)
        further = {"leaving": True} if leaving else {}
        if describe:
            further["entrypoints"] = self.entrypoints()
        self.told_at, self.told_free, self.told_partitions = time.monotonic(), not busy, sorted(self.broker.partitions())
        return self.broker.send(self.transport.seal(wire.encode(wire.report(
            "heartbeat", self.name, host=self.host, pid=os.getpid(), version="kser-adapter " + __version__, queue=self.queue_name,
            slots=1, free=int(not busy), waiting=0, claims=claims, partitions=self.told_partitions, **further))), key=self.name.encode())  # in their order, the last one last

    def entrypoints(self):
        return [{"name": name, "required": list(entrypoint.REQUIRED_FIELDS)} for name, entrypoint in sorted(self.controller.ENTRYPOINTS.items())]

    def hear(self, value):
        """One word of an orchestrator. What cannot be read says nothing to us."""
        try:
            said = self.transport.open(value.decode("utf-8")).params
            if said.get("kind") == "stop":
                for name in said["tasks"]:
                    self.stopped.add(wire.key_of(name))
            elif said.get("kind") == "generation":
                with self.lock:
                    self.old_generations |= self.generations - {said["gen"]}
                    self.old_generations.discard(said["gen"])
        except Exception as reason:
            logger.warning("Adapter.Control: a record cannot be used: %s", reason)

    def leave(self):
        if self.joined.is_set():
            self.send_beat(leaving=True).wait(LAST_WAIT)
        self.broker.close()
        self.spans.close()


def too_late(task):
    now = time.time() * 1000
    return any(0 < task.stamp.get(key, 0) < now for key in ("start_by", "deadline"))


def is_told(variable):
    """kser's files by which an operator pauses a worker or ends it."""
    return os.path.exists(os.environ.get(variable, ""))


def told_of(reason):
    """What kser's ValidationError keeps beside its text: the fields that are wrong."""
    extra = getattr(reason, "extra", None)
    return " ({})".format(extra) if extra else ""
