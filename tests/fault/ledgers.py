"""The four ledgers that the oracle joins, each written by somebody else: the client's, the workers', the database's rows and
what a plain consumer reads from the topics. Reading them is all that this module does."""

import hashlib
import json
import os
import threading
import time
from collections import Counter, defaultdict, namedtuple

from support.seal import unseal

Execution = namedtuple("Execution", "operation task attempt pid start end nonce")  # end: None when it was not reached; seconds of the wall clock
Change = namedtuple("Change", "id at committed operation position task was was_attempt status attempt nonce")
Task = namedtuple("Task", "operation position task status attempt nonce error")
Operation = namedtuple("Operation", "id name key status error body held")
Record = namedtuple("Record", "topic partition offset kind operation position task attempt generation epoch nonce")


def body_hash(name, tasks):
    """Of what a client asks for: the operation's name, its tasks' entrypoints and params."""
    plain = [[task["entrypoint"], task.get("params") or {}] for task in tasks]
    return hashlib.sha256(json.dumps([name, plain], sort_keys=True).encode()).hexdigest()


class ClientLedger:
    """What a client knows. Every line is on disk before the client goes on: an intent before the submit is sent, an
    acknowledgement before it counts."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "ab", buffering=0)
        self.lock = threading.Lock()
        self.lines = []

    def note(self, what, key, **further):
        line = {"at": time.time(), "what": what, "key": key, **further}
        with self.lock:
            self.file.write(json.dumps(line).encode() + b"\n")
            os.fsync(self.file.fileno())
            self.lines.append(line)

    def since(self, mark):
        """The lines after the first `mark` ones."""
        with self.lock:
            return self.lines[mark:]


def read_executions(path):
    """The workers' ledger: an Execution for each start, in their order."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")  # the last line may be half written
    starts, ends = {}, {}
    for line in whole.splitlines():
        what, operation, task, attempt, pid, wall, _, nonce = line.split()
        (starts if what == "S" else ends)[nonce] = (operation, task, int(attempt), int(pid), int(wall) / 1e9)
    return [Execution(*start, ends[nonce][4] if nonce in ends else None, nonce) for nonce, start in starts.items()]


CHANGES = """
	select id, extract(epoch from at)::float8, extract(epoch from pg_xact_commit_timestamp(((xid::text::numeric %% 4294967296)::bigint::text)::xid))::float8,
		operation_id::text, position, uuid::text, was, was_attempt, status, attempt, nonce
	from audit.changes where operation_id = any (%s::uuid[]) order by id
"""
TASKS = """
	select operation_id::text, position, uuid::text, status::text, attempt, retval ->> 'nonce', error, entrypoint, params
	from kser.tasks where operation_id = any (%s::uuid[]) order by 1, 2
"""
OPERATIONS = "select id::text, name, key, status::text, error, held from kser.operations where id = any (%s::uuid[])"


class Rows:
    """The database's rows of some operations."""

    def __init__(self, database, ids):
        ids = list(ids)
        tasks = database.query(TASKS, ids)
        bodies = defaultdict(list)
        for row in tasks:
            bodies[row[0]].append({"entrypoint": row[7], "params": row[8]})
        self.tasks = [Task(*row[:7]) for row in tasks]
        self.operations = {row[0]: Operation(*row[:5], body_hash(row[1], bodies[row[0]]), row[5]) for row in database.query(OPERATIONS, ids)}
        self.changes = [Change(*row) for row in database.query(CHANGES, ids)]
        self.attempts_lost = {(str(row[0]), row[1]) for row in database.query(
            "select uuid, attempt from kser.history where operation_id = any (%s::uuid[])", ids) if row[0]}
        self.steered = {row[0] for row in database.query(
            "select distinct operation_id::text from kser.history where operation_id = any (%s::uuid[]) and kind in ('retry', 'cancel', 'generation')", ids)}


def read_record(topic, record, text):
    """A record of the topics, whose text may have been sealed, as far as it speaks of a task; None: it does not."""
    try:
        message = json.loads(text)
        stamp = message["metadata"]["kser"]
        kind = stamp.get("kind", "dispatch" if "worker" not in stamp else "result")
        if not (isinstance(stamp["op"], str) and isinstance(message["uuid"], str) and all(type(stamp[key]) is int for key in ("pos", "attempt", "gen"))):
            return None
        nonce = ((message.get("result") or {}).get("retval") or {}).get("nonce")
        return Record(topic, record.partition(), record.offset(), kind, stamp["op"], stamp["pos"], message["uuid"], stamp["attempt"], stamp["gen"], stamp.get("epoch"), nonce)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class TopicReader:
    """A plain consumer of some topics, outside every group of the system: read() returns what is new. With `keys`, a KeyFile, it counts
    what is sealed, what is not, and what no key opens."""

    def __init__(self, kafka, topics, keys=None):
        self.kafka = kafka
        self.topics = topics
        self.keys = keys
        self.reached = {}
        self.counts = Counter()

    def text_of(self, record):
        if self.keys is None:
            return record.value()
        try:
            text = unseal(reversed(self.keys.ever), record.value() or b"")
            self.counts["sealed" if text is not None else "strange"] += 1
            return text
        except ValueError:
            self.counts["plaintext"] += 1
            return None

    def read(self):
        found = []
        for topic in self.topics:
            for record in self.kafka.read_from(topic, self.reached):
                known = read_record(topic, record, self.text_of(record))
                if known:
                    found.append(known)
        return found
