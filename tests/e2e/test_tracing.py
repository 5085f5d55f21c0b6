"""One trace for each operation, from real programs on real servers, as a receiver with OpenTelemetry's own definitions reads it."""

import pytest

from support.traces import Traces
from support.waiting import wait_until


@pytest.fixture
def traces(tmp_path):
    receiver = Traces(tmp_path)
    yield receiver
    receiver.stop()


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
    traces.wait(2)
    assert orchestrator.stop() == 0
    first, second = traces.spans()  # the unsampled one was cancelled first
    assert first["trace"] == alone.replace("-", "") and first["parent"] is None and first["name"] == f"alone[{alone}] - Execute"
    assert second["trace"] == parent[3:35] and second["parent"] == parent[36:52] and second["span"] == root_of(below)
    assert first["failed"] and first["error"]["exception.type"] == "Cancelled" and "not today" in first["message"]
    assert {"kser.operation": alone, "kser.status": "FAILED", "kser.retcode": 499}.items() <= first["attributes"].items()
    assert first["start_us"] == first["end_us"]
