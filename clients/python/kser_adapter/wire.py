"""What stands on the topics: how dispatches are read and how reports are made. Nothing here knows Kafka or threads."""

import base64
import copy
import json
import math
from uuid import uuid4

from cdumay_result import Result, ResultSchema

MESSAGE_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
DEAD_BYTES_MAX = 64 * 1024
NAMES_MAX = 500

CAREFUL = 1

# What every dispatch names; a message with none of them and without a kind is nobody's task.
NAMING = ("op", "pos", "attempt", "gen", "epoch")


class Unusable(Exception):
    """A record that cannot be used; its text is the reason."""


class Task:
    """A message to run, and what the orchestrator said with it in metadata.kser (`stamp`; {} when it is not from there)."""

    def __init__(self, message):
        self.message = message
        stamp = message.metadata.get("kser", {})
        if not isinstance(stamp, dict):
            raise Unusable("metadata.kser: must be an object")
        if stamp.get("kind", "result") != "result" or stamp.get("worker"):
            raise Unusable("metadata.kser: is a worker's report, not a task")
        self.named = any(key in stamp for key in NAMING)
        if self.named:
            check_naming(stamp)
        self.stamp = copy.deepcopy(stamp)
        self.previous = previous_of(message)

    @property
    def name(self):
        """As claims, releases and stops name it."""
        return {"uuid": self.message.uuid, "op": self.stamp["op"], "pos": self.stamp["pos"], "attempt": self.stamp["attempt"],
                "gen": self.stamp["gen"]}

    @property
    def key(self):
        """The same for two records of the same attempt; None when it cannot be named."""
        return key_of(self.name) if self.named else None

    @property
    def careful(self):
        return bool(self.stamp.get("flags", 0) & CAREFUL)


def check_naming(stamp):
    for key in NAMING:
        kind = str if key == "op" else int
        if not isinstance(stamp.get(key), kind) or isinstance(stamp.get(key), bool):
            raise Unusable("metadata.kser.{}: is missing or has the wrong type".format(key))
    for key in ("flags", "start_by", "deadline", "limit_ms"):
        if not isinstance(stamp.get(key, 0), int):
            raise Unusable("metadata.kser.{}: must be an integer".format(key))


def key_of(name):
    return name["op"].lower(), name["pos"], name["attempt"], name["gen"]


def previous_of(message):
    """What came with the task, before anything changes it."""
    return copy.deepcopy({"stdout": message.result.stdout, "stderr": message.result.stderr, "retval": message.result.retval})


# ---- reports ----

def report(kind, worker, **further):
    """What a worker says of itself or of several tasks, as a message."""
    return {"uuid": str(uuid4()), "entrypoint": "kser." + kind, "params": {}, "result": None,
            "metadata": {"kser": dict(kind=kind, worker=worker, **further)}}


def dead(worker, topic, partition, offset, value, reason):
    printable = reason[:500].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return report("dead", worker, topic=topic, partition=partition, offset=offset, reason=printable,
                  bytes=base64.b64encode((value or b"")[:DEAD_BYTES_MAX]).decode("ascii"))


def inherited(previous, result, own):
    """Which parts of a result the task only carried on. `own` is what it returned by itself, None when that is not known."""
    said = own or {"stdout": "", "stderr": "", "retval": {}}
    carried = {}
    for stream in ("stdout", "stderr"):
        if previous[stream] and result[stream] == previous[stream] and not said[stream]:
            carried[stream] = True
    keys = [key for key, value in previous["retval"].items()
            if key in result["retval"] and result["retval"][key] == value and key not in said["retval"]]
    if keys:
        carried["retval"] = keys
    return carried


def plain_result(result):
    """A Result object as the wire has it: the library writes nulls that it cannot read."""
    plain = ResultSchema().dump(result)
    for stream in ("stdout", "stderr"):
        if plain.get(stream) is None:
            plain[stream] = ""
    if plain.get("retval") is None:
        plain["retval"] = {}
    retcode = plain.get("retcode")
    if isinstance(retcode, bool) or not isinstance(retcode, int) or not -2**31 <= retcode < 2**31:
        raise ValueError("retcode {!r} is not a 32 bit integer".format(retcode))
    return plain


def reply(task, worker, outcome):
    """The message to send back for a task that was run."""
    result = plain_result(outcome.result)
    said = {"kind": "result", "worker": worker}
    carried = inherited(task.previous, result, outcome.own)
    if carried:
        said["inherited"] = carried
    if outcome.plan and result["retcode"] == 0:
        said["tasks"] = outcome.plan
    metadata = dict(outcome.metadata)
    metadata["kser"] = dict(said, **{key: value for key, value in task.stamp.items() if key not in said})
    return {"uuid": task.message.uuid, "entrypoint": task.message.entrypoint, "params": outcome.params, "result": result, "metadata": metadata}


def failed(uuid, name, code, message):
    """A result that says why, with kser's error object."""
    msgid = "ERR-29885" if name == "InternalError" else "Err-00000"
    error = {"code": code, "name": name, "message": message, "msgid": msgid, "extra": {}, "stack": None}
    return Result(uuid=uuid, retcode=code, stderr=message, retval={"error": error})


class Failure:
    """The outcome of a task that was not run, or whose result cannot be sent. `bare`: without what came with the task, which may
    be all too large."""

    plan = None
    own = None

    def __init__(self, task, failure, bare=False):
        self.result = failure
        self.params = {} if bare else task.message.params
        self.metadata = {} if bare else task.message.metadata
        if not bare:
            self.result = Result(uuid=task.message.uuid, **copy.deepcopy(task.previous)) + failure


# ---- what everybody can read ----

def no_twins(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("two keys of an object are the same text")
    return members


def check_value(value, depth=0):
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text has a NUL")
        value.encode("utf-8")
    elif isinstance(value, int) and not -2**63 <= value < 2**63:
        raise ValueError("an integer does not fit in 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    elif isinstance(value, (dict, list)):
        if depth == DEPTH_MAX:
            raise ValueError("more than {} levels of lists and objects".format(DEPTH_MAX))
        for element in value:
            check_value(element, depth + 1)
        if isinstance(value, dict):
            for element in value.values():
                check_value(element, depth + 1)


def encode(message):
    """The text of a message. ValueError or TypeError: the orchestrator could not read it."""
    text = json.dumps(message, allow_nan=False)
    check_value(json.loads(text, object_pairs_hook=no_twins))
    return text
