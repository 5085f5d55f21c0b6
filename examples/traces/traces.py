"""A receiver of traces, and what it received as trees: scripts/traces receive|tree.

It reads OTLP/HTTP with OpenTelemetry's own definitions (opentelemetry-proto) and refuses, with 400, what these do not
know. Each span is a line of JSON: {trace, span, parent, name, kind, start_us, end_us, attributes, failed, message, error, service, instance}.
"""

import argparse
import base64
import gzip
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


# ---- reading ----

def hex_to_base64(value):
    """OTLP has ids in hex, where protobuf's JSON has bytes in base64."""
    if isinstance(value, list):
        return [hex_to_base64(one) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for key, one in value.items():
        if key in IDS and isinstance(one, str):
            raw = bytes.fromhex(one)
            if len(raw) != IDS[key] and not (key == "parentSpanId" and not raw):
                raise ValueError(f"{key}: has {len(raw)} bytes, not {IDS[key]}")
            changed[key] = base64.b64encode(raw).decode()
        else:
            changed[key] = hex_to_base64(one)
    return changed


def decode(kind, body):
    """The request in `body`. ValueError: it is none."""
    if kind == "application/x-protobuf":
        return ExportTraceServiceRequest.FromString(body)
    if kind != "application/json":
        raise ValueError(f"Content-Type: {kind}")
    return json_format.ParseDict(hex_to_base64(json.loads(body)), ExportTraceServiceRequest(), ignore_unknown_fields=False)


def plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


def spans_of(request):
    """The spans of a request, each as a dictionary. ValueError: one that the specification does not allow."""
    for resource_spans in request.resource_spans:
        resource = plain(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if len(span.trace_id) != 16 or len(span.span_id) != 8 or not any(span.trace_id) or not any(span.span_id) or not span.name:
                    raise ValueError(f"a span without its ids or its name: {span}")
                if span.end_time_unix_nano < span.start_time_unix_nano:
                    raise ValueError(f"{span.name}: ends before it starts")
                yield {"trace": span.trace_id.hex(), "span": span.span_id.hex(), "parent": span.parent_span_id.hex() or None, "name": span.name,
                       "kind": Span.SpanKind.Name(span.kind), "start_us": span.start_time_unix_nano // 1000, "end_us": span.end_time_unix_nano // 1000,
                       "attributes": plain(span.attributes), "failed": span.status.code == Status.STATUS_CODE_ERROR, "message": span.status.message,
                       "error": next((plain(event.attributes) for event in span.events if event.name == "exception"), None),
                       "service": resource.get("service.name"), "instance": resource.get("service.instance.id")}


# ---- receiving ----

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = self.headers.get("Content-Type", "").split(";")[0]
        if self.path != "/v1/traces":
            return self.answer(404, kind, f"no such path: {self.path}".encode())
        try:
            spans = list(spans_of(decode(kind, body)))
        except (ValueError, DecodeError, json_format.ParseError) as reason:
            print(f"traces: refused a request: {reason}", file=sys.stderr, flush=True)
            return self.answer(400, "text/plain", str(reason).encode())
        self.server.file.write("".join(json.dumps(span) + "\n" for span in spans))
        self.server.file.flush()
        self.answer(200, kind, b"{}" if kind == "application/json" else ExportTraceServiceResponse().SerializeToString())

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def receive(arguments):
    with open(arguments.file, "a") as file, ThreadingHTTPServer(("127.0.0.1", arguments.port), Receiver) as server:
        server.file = file
        print(f"receiving on http://127.0.0.1:{server.server_address[1]}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


# ---- printing ----

def label(span, begin_us):
    shown = {key.removeprefix("kser."): value for key, value in span["attributes"].items() if key in ("kser.queue", "kser.attempt", "kser.retcode", "kser.worker") and value != ""}
    text = f"{span['name']}  {(span['end_us'] - span['start_us']) / 1000:.1f} ms at {(span['start_us'] - begin_us) / 1000:+.1f}"
    text += "".join(f"  {key}={value}" for key, value in shown.items())
    return text + (f"  FAILED: {span['message']}" if span["failed"] else "")


def print_children(of, children, begin_us, indent):
    spans = sorted(children.pop(of, []), key=lambda span: span["start_us"])
    for i, span in enumerate(spans):
        last = i == len(spans) - 1
        print(indent + ("└─ " if last else "├─ ") + label(span, begin_us))
        print_children(span["span"], children, begin_us, indent + ("   " if last else "│  "))


def print_trace(trace, spans):
    """The tree of one trace. A span whose parent was not received stands at the top, with a remark."""
    known = {span["span"] for span in spans}
    begin_us = min(span["start_us"] for span in spans)
    children = {}
    for span in spans:
        children.setdefault(span["parent"] if span["parent"] in known else None, []).append(span)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begin_us / 1e6))
    print(f"trace {trace}, {len(spans)} spans, {when} UTC")
    for span in sorted(children.pop(None, []), key=lambda span: span["start_us"]):
        print(label(span, begin_us) + (f"  (its parent {span['parent']} is elsewhere)" if span["parent"] else ""))
        print_children(span["span"], children, begin_us, "")


def tree(arguments):
    traces = {}
    with open(arguments.file) as file:
        for line in file:
            span = json.loads(line)
            traces.setdefault(span["trace"], []).append(span)
    wanted = arguments.trace.replace("-", "") if arguments.trace else None
    if wanted and wanted not in traces:
        sys.exit(f"traces: {arguments.file} has no span of trace {wanted}")
    for trace, spans in traces.items():
        if wanted in (None, trace):
            print_trace(trace, spans)


def main():
    parser = argparse.ArgumentParser(prog="scripts/traces")
    verbs = parser.add_subparsers(dest="verb", required=True)
    receiver = verbs.add_parser("receive", help="take OTLP/HTTP and keep the spans")
    receiver.add_argument("--port", type=int, default=4318, help="of 127.0.0.1; 0: a free one, which the first line says")
    receiver.add_argument("file")
    printer = verbs.add_parser("tree", help="print what was received")
    printer.add_argument("file")
    printer.add_argument("trace", nargs="?", help="only this one; the id of an operation that began its trace will do")
    arguments = parser.parse_args()
    {"receive": receive, "tree": tree}[arguments.verb](arguments)


if __name__ == "__main__":
    main()
