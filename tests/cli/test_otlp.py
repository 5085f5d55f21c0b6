"""The exporter of spans against a receiver that decodes with OpenTelemetry's own definitions, and against bad ones."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.ports import free_port
from support.processes import clean_environment
from support.traces import Traces
from support.waiting import wait_until


@pytest.fixture
def traces(tmp_path):
    receiver = Traces(tmp_path)
    yield receiver
    receiver.stop()


@pytest.fixture
def export(binaries):
    """export(count, **environment): starts bin/spans; leave() makes it go and gives what it printed."""
    started = []

    def export(count, **environment):
        child = subprocess.Popen([str(binaries / "spans"), str(count), "one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=clean_environment(**environment))
        started.append(child)
        return child

    yield export
    for child in started:
        if child.poll() is None:
            child.kill()
        child.wait()


def leave(child):
    out, err = child.communicate(timeout=20)
    assert child.returncode == 0, err
    return out, err


class Stubborn(ThreadingHTTPServer):
    """Answers as the list says, one entry a request, the last one for ever: (code, headers, body); None: never."""

    daemon_threads = True

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.release = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                self.requests.append((handler.headers, handler.rfile.read(int(handler.headers["Content-Length"]))))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    self.release.wait(60)
                    return
                code, headers, body = answer
                handler.send_response(code)
                for name, value in {"Content-Length": len(body), **headers}.items():
                    handler.send_header(name, str(value))
                handler.end_headers()
                handler.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self, request=-1):
        body = json.loads(self.requests[request][1])
        return body["resourceSpans"][0]["scopeSpans"][0]["spans"]

    def end(self):
        self.release.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def stubborn():
    opened = []

    def open(*answers):
        opened.append(Stubborn(*answers))
        return opened[-1]

    yield open
    for server in opened:
        server.end()


def test_what_is_exported_is_what_was_added(traces, export):
    out, _ = leave(export(200, OTEL_EXPORTER_OTLP_ENDPOINT=traces.endpoint + "/"))
    assert out == "0\n"
    spans = traces.wait(200)
    assert len(spans) == 200  # and not the one that is not sampled
    root = spans[0]
    assert (root["name"], root["parent"], root["kind"], root["service"], root["instance"], root["failed"]) == ("span", None, "SPAN_KIND_CONSUMER", "kser", "one", False)
    assert (root["start_us"], root["end_us"]) == (1700000000000001, 1700000000000500)
    assert root["attributes"] == {"number": 2**63 - 1, "text": 'a "quote", a\ttab and \N{GAME DIE}', "empty": ""}
    assert len({span["span"] for span in spans}) == 200
    assert all(span["trace"] == root["trace"] and span["parent"] == root["span"] and span["kind"] == "SPAN_KIND_INTERNAL" for span in spans[1:])
    assert spans[1]["failed"] and spans[1]["message"] == "!" + "é" * 249 and spans[1]["error"] == {"exception.type": "NotFound", "exception.message": "!" + "é" * 249}
    assert spans[3]["message"] == "no such file"
    assert not traces.log.read_text()
    # The printer shows all of them, children under their parent.
    tree = traces.tree(root["trace"]).splitlines()
    assert tree[0].startswith(f"trace {root['trace']}, 200 spans") and tree[1].startswith("span  0.5 ms at +0.0") and tree[-1].startswith("└─ span") and len(tree) == 201


def test_goes_to_the_endpoint_that_is_named(traces, export, tmp_path):
    """The traces' own endpoint goes before the general one; JAEGER_HOST is for where there is none."""
    nobody = f"http://127.0.0.1:{free_port()}"
    leave(export(1, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=traces.endpoint + "/v1/traces", OTEL_EXPORTER_OTLP_ENDPOINT=nobody, JAEGER_HOST="127.0.0.2"))
    traces.wait(1)
    _, err = leave(export(1, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, JAEGER_HOST="127.0.0.2"))
    assert f"url={nobody}/v1/traces" in err
    _, err = leave(export(1, JAEGER_HOST="127.0.0.2"))
    assert "url=http://127.0.0.2:4318/v1/traces" in err
    _, err = leave(export(1, JAEGER_HOST="::1"))
    assert "url=http://[::1]:4318/v1/traces" in err
    _, err = leave(export(1))
    assert not err  # off


def test_headers_are_sent_and_a_password_is_not_logged(stubborn, export):
    server = stubborn((200, {}, "{}"))
    _, err = leave(export(1, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint.replace("//", "//me:hidden@"), OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b, x-other=c"))
    headers = server.requests[0][0]
    assert (headers["X-Key"], headers["X-Other"], headers["Content-Type"], headers["Authorization"]) == ("a b", "c", "application/json", "Basic bWU6aGlkZGVu")
    assert "hidden" not in err and "a b" not in err and server.endpoint in err


def test_tries_again_as_it_is_told(stubborn, export):
    """429, 502, 503 and 504 come again, with the same spans; then nothing is lost."""
    server = stubborn((503, {"Retry-After": "1"}, ""), (429, {}, ""), (502, {}, ""), (504, {}, ""), (200, {}, "{}"))
    child = export(10, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint)
    wait_until(lambda: len(server.requests) == 5, 30, "five requests")
    out, err = leave(child)
    assert out == "0\n" and all(len(server.spans(i)) == 10 for i in range(5)), err
    assert "could not export spans" in err and "exported again" in err and "dropped" not in err


def test_a_batch_that_waits_is_tried_once_more_at_the_end(stubborn, export):
    server = stubborn((503, {"Retry-After": "20"}, ""), (200, {}, "{}"))
    child = export(10, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint)
    wait_until(lambda: server.requests, 30, "a request")
    _, err = leave(child)
    assert len(server.requests) == 2 and len(server.spans()) == 10 and "dropped" not in err, err


def test_what_the_receiver_refuses_is_counted(stubborn, export):
    server = stubborn((400, {}, "no"))
    child = export(10, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint)
    wait_until(lambda: server.requests, 30, "a request")
    _, err = leave(child)
    assert len(server.requests) == 1 and "spans were dropped" in err and "total=10" in err and "answered 400" in err
    server = stubborn((200, {}, '{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}'))
    child = export(10, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint)
    wait_until(lambda: server.requests, 30, "a request")
    _, err = leave(child)
    assert "total=3" in err and "too old" in err


def test_a_receiver_that_never_answers_holds_nothing_up(stubborn, export):
    """More than fits: the rest is dropped at once, and leaving takes no longer than its limit."""
    server = stubborn(None)
    child = export(50000, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint)
    wait_until(lambda: server.requests, 30, "a request")
    out, err = leave(child)
    assert 0 < int(out) < 50000 and "total=50000" in err, err


@pytest.mark.parametrize("environment, words", [
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://host"}, "otlp-endpoint: must be a URL of http or https"),
    ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://"}, "otlp-traces-endpoint: no URL"),
    ({"JAEGER_HOST": "a b"}, "jaeger-host: no URL"),
    ({"JAEGER_HOST": "h", "OTEL_EXPORTER_OTLP_HEADERS": "key"}, "otlp-headers: must be name=value"),
    ({"JAEGER_HOST": "h", "OTEL_EXPORTER_OTLP_HEADERS": "key=a%0Ab"}, "otlp-headers: key: has a line end"),
])
@pytest.mark.parametrize("program", ["kser-worker", "kser-orchestrator"])
def test_wrong_settings_are_told_at_the_start(processes, program, environment, words):
    done = processes.run(program, environment=environment)
    assert done.returncode == 2 and words in done.stderr


@pytest.mark.parametrize("program", ["kser-worker", "kser-orchestrator"])
def test_print_config_hides_what_a_url_may_hold(processes, program):
    shown = processes.run(program, "--print-config", environment={
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hidden@host/in?key=hidden", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://host:4318/v1/traces"}).stdout
    assert "hidden" not in shown and "; otlp_endpoint = https://host/in\n" in shown and "\notlp_traces_endpoint = http://host:4318/v1/traces\n" in shown
