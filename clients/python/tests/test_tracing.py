"""Spans of what runs, as a receiver with OpenTelemetry's own definitions gets them."""

import builtins
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from kser.schemas import Message

pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

from fleet import OPERATION, TASK, FleetController, dispatch  # noqa: E402
from kser_adapter import execution, tracing, wire  # noqa: E402

TRACE, ROOT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def receiver(monkeypatch):
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:{}".format(server.server_port))
    yield received
    server.shutdown()
    server.server_close()


def traced(receiver, flags="01", **message):
    """{name without its uuid: span} of one task."""
    spans = tracing.open_spans("w")
    text = wire.encode(dispatch(metadata={"traceparent": "00-{}-{}-{}".format(TRACE, ROOT, flags)}, **message))
    outcome = execution.run(FleetController, text, Message.loads(text), "py", spans)
    assert outcome.metadata["traceparent"].endswith(flags), "the message goes back as it came"
    spans.close()
    found = [span for request in receiver for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return {span.name.replace("[{}] - ".format(TASK), " "): span for span in found}


def plain(attributes):
    return {one.key: one.value.string_value or one.value.int_value for one in attributes}


def test_steps_below_the_execution_below_the_operation(receiver):
    found = traced(receiver, params={"name": "x"})
    assert set(found) == {"Hello Execute", "Hello PreRun", "Hello Run", "Hello PostRun"}
    execute = found.pop("Hello Execute")
    assert (execute.trace_id.hex(), execute.parent_span_id.hex()) == (TRACE, ROOT)
    assert {span.parent_span_id for span in found.values()} == {execute.span_id}
    assert plain(execute.attributes) == {"kser.task": TASK, "kser.entrypoint": "jobs.Hello", "kser.worker": "w", "kser.operation": OPERATION, "kser.position": 0,
                                         "kser.attempt": 1, "kser.queue": "py", "kser.retcode": 0}
    assert plain(receiver[0].resource_spans[0].resource.attributes)["service.name"] == "kser"


def test_what_failed_says_so(receiver):
    found = traced(receiver, entrypoint="Raises")
    assert set(found) == {"Raises Execute", "Raises PreRun", "Raises Run"}
    execute, run = found["Raises Execute"], found["Raises Run"]
    assert execute.status.code == run.status.code == 2 and found["Raises PreRun"].status.code == 0
    assert plain(execute.events[0].attributes) == {"exception.type": "InternalError", "exception.message": "'x'"}
    assert plain(run.events[0].attributes) == {"exception.type": "KeyError", "exception.message": "'x'"}  # and not its stack


def test_an_operation_is_one_span(receiver):
    assert set(traced(receiver, entrypoint="DiceLaunch")) == {"DiceLaunch Execute"}
    del receiver[:]
    failed = traced(receiver, entrypoint="Nothing")["Nothing Execute"]
    assert failed.status.code == 2 and plain(failed.attributes)["kser.retcode"] == 1


def test_what_the_trace_does_not_sample_is_not_exported(receiver):
    assert traced(receiver, flags="00", params={"name": "x"}) == {}


def test_off(monkeypatch, caplog):
    for name in tracing.ENDPOINTS + ("JAEGER_HOST",):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(tracing.open_spans("w"), tracing.Off)
    monkeypatch.setenv("JAEGER_HOST", "nowhere")
    missing = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: missing(name, *rest) if "opentelemetry" not in name else missing("no.such." + name))
    with caplog.at_level(logging.WARNING):
        assert isinstance(tracing.open_spans("w"), tracing.Off)
    assert "kser-adapter[tracing]" in caplog.text
