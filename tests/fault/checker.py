"""The oracle: joins the four ledgers of a run and says which promises were broken. It takes no word of the system under test for
it: no status page, no log, only what clients were told, what workers did, the rows, and the topics.

    durable      every acknowledged operation exists, as it was asked for
    order        no task starts before the success of the one before it is committed
    one end      an attempt ends once, and what has ended stays as it is unless an operator retries it
    one launch   attempts grow by one; one uuid for each task; one dispatch identity for each attempt
    fenced       a result changes the row only of a RUNNING task of its attempt
    no stuck     once the fault is over every operation ends
    no phantom   nothing exists or runs that nobody submitted
    grounded     each success holds the result of an execution of that very attempt
    explained    a task runs more than once only around a fault that allows it
    submit once  same key and body: same id, one row; another body is refused
"""

from collections import Counter, defaultdict, namedtuple

Violation = namedtuple("Violation", "promise text ids")

ENDED = ("SUCCESS", "FAILED")
CLOCKS = 0.001  # both clocks are the host's; a commit's is taken before the commit is visible


class Evidence:
    """All that is known of one run. `windows` are the (begin, end) times of faults that may cause a repeat; `steered`: operations that an
    operator touched."""

    def __init__(self, client, executions, rows, records, windows=(), phantom_ids=(), expected=None, one_clock=True, tolerated=()):
        self.client = client
        self.executions = executions
        self.operations = rows.operations
        self.tasks = rows.tasks
        self.changes = rows.changes
        self.attempts_lost = rows.attempts_lost
        self.steered = rows.steered
        self.records = records
        self.windows = list(windows)
        self.phantom_ids = list(phantom_ids)  # operations in the database without an intent
        self.tolerated = tolerated  # errors with which an operation may end as well
        self.one_clock = one_clock  # database and workers go by the same clock
        self.expected = expected or {}  # operation: status that it must have; SUCCESS unless named


def check(evidence):
    """All violations found, worst first."""
    found = []
    for promise in (durable, submit_once, phantom, stuck, order, one_end, one_launch, fenced, grounded, explained):
        found += promise(evidence)
    return found


def acknowledged(evidence):
    return {line["key"]: line["id"] for line in evidence.client if line["what"] == "ack"}


def durable(evidence):
    hashes = {line["key"]: line["hash"] for line in evidence.client if line["what"] == "intent"}
    for key, id in acknowledged(evidence).items():
        operation = evidence.operations.get(id)
        if operation is None:
            yield Violation("durable", f"acknowledged and gone: key {key}", [id])
        elif operation.body != hashes.get(key):
            yield Violation("durable", f"not as it was submitted: key {key}", [id])


def submit_once(evidence):
    known = acknowledged(evidence)
    for line in evidence.client:
        if line["what"] == "repeat" and line["id"] != known.get(line["key"]):
            yield Violation("submit once", f"a repeated submit of key {line['key']} gave another id", [line["id"], known.get(line["key"])])
        if line["what"] == "other" and line["id"]:
            yield Violation("submit once", f"another body was taken under the key {line['key']}", [line["id"]])
    for key, count in Counter(operation.key for operation in evidence.operations.values() if operation.key).items():
        if count > 1:
            yield Violation("submit once", f"{count} operations of the key {key}", [o.id for o in evidence.operations.values() if o.key == key])


def phantom(evidence):
    for id in evidence.phantom_ids:
        yield Violation("no phantom", "an operation that nobody submitted", [id])
    rows = {(task.operation, task.task): task for task in evidence.tasks}
    for what, seen in (("executed", evidence.executions), ("dispatched", [r for r in evidence.records if r.kind == "dispatch"])):
        for one in seen:
            row = rows.get((one.operation, one.task))
            if row is None:
                yield Violation("no phantom", f"{what} without a row", [one.operation, one.task])
            elif one.attempt > row.attempt:
                yield Violation("no phantom", f"attempt {one.attempt} {what}, the row knows {row.attempt}", [one.operation, one.task])


def stuck(evidence):
    for id, operation in evidence.operations.items():
        wanted = evidence.expected.get(id, "SUCCESS")
        if operation.status not in ENDED:
            yield Violation("no stuck", f"still {operation.status}: {story(evidence, id)}", [id])
        elif wanted is not None and operation.status != wanted and operation.error not in evidence.tolerated:
            yield Violation("no stuck", f"ended {operation.status} ({operation.error}), not {wanted}: {story(evidence, id)}", [id])


def story(evidence, id):
    return ", ".join(f"{task.position}:{task.status}/{task.attempt}{'/' + task.error if task.error else ''}" for task in evidence.tasks if task.operation == id)


def order(evidence):
    success = {(change.operation, change.position): change for change in evidence.changes if change.status == "SUCCESS" and change.position is not None}
    starts = {}
    for execution in evidence.executions:
        key = execution.operation, execution.task
        starts[key] = min(starts.get(key, execution.start), execution.start)
    began = {(change.operation, change.position): change for change in reversed(evidence.changes) if change.status == "RUNNING" and change.position is not None}
    for task in evidence.tasks:
        if task.position == 0:
            continue
        before = success.get((task.operation, task.position - 1))
        start, running = starts.get((task.operation, task.task)), began.get((task.operation, task.position))
        if start is not None and (before is None or before.committed is None or evidence.one_clock and start < before.committed - CLOCKS):
            yield Violation("order", f"task {task.position} was executed before the success of the one before it was committed", [task.operation, task.task])
        if running is not None and (before is None or running.id < before.id and running.committed != before.committed):
            yield Violation("order", f"task {task.position} was RUNNING before the one before it was SUCCESS", [task.operation, task.task])


def one_end(evidence):
    ends = Counter((c.task, c.attempt) for c in evidence.changes if c.position is not None and c.status in ENDED)
    for (task, attempt), count in ends.items():
        if count > 1:
            yield Violation("one end", f"attempt {attempt} ended {count} times", [task])
    for change in evidence.changes:
        if change.was == "SUCCESS" or change.was == "FAILED" and change.status != "FAILED" and change.operation not in evidence.steered:
            yield Violation("one end", f"{change.was} became {change.status}, position {change.position}", [change.operation])


def one_launch(evidence):
    for change in evidence.changes:
        if change.position is None or change.was is None:
            continue
        grown = change.attempt - change.was_attempt
        if change.status == "RUNNING" and change.was != "RUNNING" and grown != 1 or grown not in (0, 1) or grown == 1 and change.status != "RUNNING":
            yield Violation("one launch", f"attempt {change.was_attempt} {change.was} became attempt {change.attempt} {change.status}", [change.operation, change.task])
    identities = defaultdict(set)
    for record in evidence.records:
        if record.kind == "dispatch":
            identities[record.operation, record.position, record.attempt].add((record.task, record.generation))
    for (operation, position, attempt), seen in identities.items():
        if len(seen) > 1:
            yield Violation("one launch", f"{len(seen)} dispatch identities of attempt {attempt} of task {position}", [operation])


def fenced(evidence):
    for change in evidence.changes:
        if change.position is None or change.status not in ENDED:
            continue
        if change.status == "SUCCESS" and (change.was != "RUNNING" or change.was_attempt != change.attempt):
            yield Violation("fenced", f"{change.was}/{change.was_attempt} became {change.status}/{change.attempt}", [change.operation, change.task])


def grounded(evidence):
    done = {(execution.task, execution.attempt, execution.nonce) for execution in evidence.executions if execution.end is not None}
    for task in evidence.tasks:
        if task.status == "SUCCESS" and (task.task, task.attempt, task.nonce) not in done:
            yield Violation("grounded", f"task {task.position} is SUCCESS at attempt {task.attempt} with a result that no execution of it gave", [task.operation, task.task])


def repeats(evidence):
    """The tasks that were executed more than once: {(operation, task): executions in order of their starts}."""
    by_task = defaultdict(list)
    for execution in evidence.executions:
        by_task[execution.operation, execution.task].append(execution)
    return {key: sorted(several, key=lambda e: e.start) for key, several in by_task.items() if len(several) > 1}


def explained(evidence):
    """A repeat is explained when the attempt before it was lost or failed (history tells), or when a fault of a kind that may
    cause repeats fell between the start of the one and the start of the other."""
    for (operation, task), several in repeats(evidence).items():
        for earlier, later in zip(several, several[1:]):
            if earlier.attempt < later.attempt and (task, earlier.attempt) in evidence.attempts_lost and evidence.windows:
                continue
            if not any(begin <= later.start and end >= earlier.start for begin, end in evidence.windows):
                yield Violation("explained", f"attempt {earlier.attempt} at {earlier.start:.3f}, attempt {later.attempt} at {later.start:.3f}, no fault between", [operation, task])


def slowest_recovery(changes, clears):
    """For each moment at which a fault was over (a kill: the kill itself): the time until the last of the operations that had not ended
    then had ended or moved on, that is, had its next change of state. (seconds, operation) of the longest; an operation that never moved
    again counts as infinite."""
    by_operation = defaultdict(list)
    for change in changes:
        by_operation[change.operation].append(change)
    worst = (0.0, None)
    for operation, history in by_operation.items():
        history.sort(key=lambda change: change.at)
        end = next((change.at for change in history if change.position is None and change.status in ENDED), None)
        for clear in clears:
            if history[0].at > clear or end is not None and end <= clear:
                continue
            moved = next((change.at for change in history if change.at > clear), float("inf"))
            worst = max(worst, (moved - clear, operation), key=lambda pair: pair[0])
    return worst
