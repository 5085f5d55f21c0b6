"""One trace for each operation, from real programs on real servers, as a receiver with OpenTelemetry's own definitions reads it."""

import socket
import threading

import pytest

from support.ports import free_port
from support.traces import Traces
from support.waiting import wait_until


@pytest.fixture
def traces(tmp_path):
    receiver = Traces(tmp_path)
    yield receiver
    receiver.stop()


def test_a_start_that_fails_says_why(cell):
    process = cell.orchestrator("--kafka.max.poll.interval.ms=1000", "--otlp-endpoint=http://127.0.0.1:9")
    assert process.wait(30) == 2 and "cannot run" in process.text() and "max.poll.interval.ms" in process.text()


class BadReceiver:
    """Takes connections as `kind` says: nobody, silent (never answers), busy (503 to everything)."""

    def __init__(self, kind):
        self.kind = kind
        self.taken = []
        self.socket = None if kind == "nobody" else socket.create_server(("127.0.0.1", 0))
        port = self.socket.getsockname()[1] if self.socket else free_port()
        self.endpoint = f"http://127.0.0.1:{port}"

    def take(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.taken.append(connection)
            if self.kind == "busy":
                threading.Thread(target=self.refuse, args=(connection,), daemon=True).start()

    def refuse(self, connection):
        """The answer to each request comes while its body may still be on its way."""
        try:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass

    def __enter__(self):
        if self.socket:
            threading.Thread(target=self.take, daemon=True).start()
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
        for connection in self.taken:
            connection.close()


def root_of(operation):
    return operation.replace("-", "")[16:]


def test_the_root_span_of_an_operation_that_psql_ends(cell, traces):
    """Cancelled before anything ran: no orchestrator had a hand in it, yet one exports it."""
    orchestrator = cell.processes.start("kser-orchestrator", "--otlp-endpoint", traces.endpoint, environment=cell.environment)
    cell.wait_for_orchestrators(1)
    wait_until(lambda: cell.database.value("select traced_until from kser.meta"), 30, "somebody who exports")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    alone, below, unsampled = cell.submit_many([
        {"name": "alone", "start_at": "2100-01-01"}, {"name": "below", "start_at": "2100-01-01", "metadata": {"traceparent": parent}},
        {"name": "unsampled", "start_at": "2100-01-01", "metadata": {"traceparent": parent[:-1] + "0"}}])
    for id in (unsampled, alone, below):
        cell.database.value("select kser.cancel(%s, 'not today')", id)
    # What has ended is taken and exported before it leaves.
    assert orchestrator.stop() == 0
    traces.wait(2)
    first, second = traces.spans()  # the unsampled one was cancelled first
    assert first["trace"] == alone.replace("-", "") and first["parent"] is None and first["name"] == f"alone[{alone}] - Execute"
    assert second["trace"] == parent[3:35] and second["parent"] == parent[36:52] and second["span"] == root_of(below)
    assert first["failed"] and first["error"]["exception.type"] == "Cancelled" and "not today" in first["message"]
    assert {"kser.operation": alone, "kser.status": "FAILED", "kser.retcode": 499}.items() <= first["attributes"].items()
    assert first["start_us"] == first["end_us"]


COMMAND = """
[entrypoint jobs.parent]
command = sh -c 'echo "$TRACEPARENT"'

[entrypoint jobs.plan]
command = sh -c 'echo "{{\\"tasks\\": [{{\\"entrypoint\\": \\"echo\\"}]}" >"$KSER_RESULT_FILE"'
"""


@pytest.fixture
def start(cell, tmp_path):
    """start(endpoint, other): an orchestrator that exports there, and a worker with a command that exports there too, or elsewhere."""

    def start(endpoint, other=None):
        (tmp_path / "worker.ini").write_text(COMMAND)
        programs = [cell.orchestrator("--otlp-endpoint", endpoint)]
        cell.wait_for_orchestrators(1)
        wait_until(lambda: cell.kafka.partitions(cell.topic("tasks")), 30, "the topics")
        wait_until(lambda: cell.database.value("select traced_until from kser.meta"), 30, "somebody who exports")
        programs.append(cell.worker("--config", tmp_path / "worker.ini", "--otlp-endpoint", other or endpoint))
        cell.wait_for_workers(1)
        return programs

    return start


def steps(tree, parent):
    """Name and children of what is below a span, in the order of their starts."""
    below = sorted((span for span in tree.values() if span["parent"] == parent), key=lambda span: span["start_us"])
    return [(span["name"], steps(tree, span["span"])) for span in below]


def execution(name, *actions):
    return (f"{name} - Execute", [(f"{name} - {action}", []) for action in actions])


ALL = ("PreRun", "Run", "PostRun")


def test_one_trace_for_an_operation(cell, traces, start, ledger):
    """A command, code, a task that is tried again, one that fails for good, and what never ran has no span. Another operation stands in its submitter's
    trace, with the task that one of its tasks planned."""
    start(traces.endpoint)
    id = cell.submit({"entrypoint": "jobs.parent"}, {"entrypoint": "sleep", "params": {"seconds": 0.3}}, ledger.note(),
                     {"entrypoint": "fail", "params": {"code": 404, "message": "not there"}, "policy": {"max_attempts": 2, "delay": 0}}, {"entrypoint": "echo"}, name="night")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    below = cell.submit({"entrypoint": "jobs.plan"}, name="below", metadata={"traceparent": parent})
    cell.wait([id, below])
    tasks = {(operation, position): (str(uuid), stdout) for operation, position, uuid, stdout in
             cell.database.query("select operation_id::text, position, uuid, stdout from kser.tasks order by position")}
    wait_until(lambda: root_of(id) in traces.of(id) and root_of(below) in traces.of(parent[3:35]), 30, "the root spans")
    wait_until(lambda: len(traces.of(id)) == 19 and len(traces.of(parent[3:35])) == 9, 30, "all spans")
    tree = traces.of(id)
    assert steps(tree, None) == [(f"night[{id}] - Execute", [
        execution(f"parent[{tasks[id, 0][0]}]", *ALL), execution(f"sleep[{tasks[id, 1][0]}]", *ALL), execution(f"note[{tasks[id, 2][0]}]", *ALL),
        execution(f"fail[{tasks[id, 3][0]}]", "PreRun", "Run"), execution(f"fail[{tasks[id, 3][0]}]", "PreRun", "Run")])]
    root = tree[root_of(id)]
    assert root["failed"] and root["attributes"]["kser.retcode"] == 404 and all(root["start_us"] <= span["start_us"] for span in tree.values())
    executions = sorted((span for span in tree.values() if span["parent"] == root["span"]), key=lambda span: span["start_us"])
    worker, = cell.database.query("select incarnation from kser.workers")
    assert executions[0]["attributes"] == {"kser.task": tasks[id, 0][0], "kser.entrypoint": "jobs.parent", "kser.retcode": 0, "kser.worker": worker[0],
                                           "kser.operation": id, "kser.position": 0, "kser.attempt": 1, "kser.queue": ""}
    assert executions[1]["end_us"] - executions[1]["start_us"] >= 299000  # it sleeps without a thread, by a clock of milliseconds
    assert [(span["attributes"]["kser.attempt"], span["failed"], span["attributes"]["kser.retcode"]) for span in executions[3:]] == [(1, True, 404), (2, True, 404)]
    assert executions[4]["message"] == "not there"
    # The command was told the span that ran it.
    run, = [span for span in tree.values() if span["name"] == f"parent[{tasks[id, 0][0]}] - Run"]
    assert tasks[id, 0][1].strip() == f"00-{run['trace']}-{run['span']}-01"
    other = traces.of(parent[3:35])
    assert steps(other, parent[36:52]) == [(f"below[{below}] - Execute", [execution(f"plan[{tasks[below, 0][0]}]", *ALL), execution(f"echo[{tasks[below, 1][0]}]", *ALL)])]
    assert not traces.log.read_text()
    assert f"night[{id}] - Execute" in traces.tree(id)


def test_off_what_the_submission_says_goes_through(running_cell, tmp_path):
    """Neither program exports. The message and the command's environment have the caller's span."""
    (tmp_path / "worker.ini").write_text(COMMAND)
    running_cell.processes.started[-1].stop()
    running_cell.worker("--config", tmp_path / "worker.ini")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ids = [running_cell.submit({"entrypoint": "jobs.parent"}, metadata={"traceparent": parent}), running_cell.submit({"entrypoint": "jobs.parent"})]
    running_cell.wait(ids)
    assert [running_cell.database.value("select stdout from kser.tasks where operation_id = %s", id).strip() for id in ids] == [parent, ""]
    assert running_cell.database.value("select count(*) from kser.ended_operations") == 0


@pytest.mark.parametrize("one, other", [("busy", "silent"), ("silent", "nobody")])
def test_a_bad_receiver_loses_no_operation(cell, start, ledger, one, other):
    """Nobody there, one that accepts and never answers, one that answers 503 for ever: operations run as ever, and both programs leave in order."""
    with BadReceiver(one) as first, BadReceiver(other) as second:
        programs = start(first.endpoint, second.endpoint)
        ids = cell.submit_many([{"name": "x", "tasks": [ledger.note() for _ in range(5)]} for _ in range(300)])
        assert cell.wait(ids)["SUCCESS"] == 300
        cell.check_each_once(ids, 5)
        wait_until(lambda: cell.database.value("select count(*) from kser.ended_operations") == 0, 30, "ended operations taken")
        assert [program.stop() for program in reversed(programs)] == [0, 0]
        assert all("spans were dropped" in program.text() for program in programs)
