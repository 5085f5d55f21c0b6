"""Spans of what runs, as the Python library kser once had them: Execute, and in it PreRun, Run, PostRun.

Made and exported by OpenTelemetry's SDK (the extra `tracing`), by OTLP over HTTP. Off unless a receiver is named.
"""

import logging
import os
from contextlib import contextmanager

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
STEPS = (("_prerun", "PreRun"), ("_run", "Run"), ("_postrun", "PostRun"))
BYTES_MAX = 500  # of an error's text
EXPORT_SECONDS = 5  # for one request: leaving does not wait longer for a receiver that does not answer


def open_spans(worker):
    """Where the spans of this worker's tasks go: nowhere, unless the environment names a receiver."""
    if not any(os.environ.get(name) for name in ENDPOINTS + ("JAEGER_HOST",)):
        return Off()
    try:
        return Spans(worker)
    except ImportError as reason:
        logger.warning("Adapter.Traces: a receiver is named, but there is no exporter (%s): install kser-adapter[tracing]", reason)
        return Off()


class Off:
    @contextmanager
    def execution(self, instance, message, queue):
        yield lambda result: None

    def close(self):
        pass


class Spans:
    def __init__(self, worker):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        self.worker = worker
        further = {"timeout": EXPORT_SECONDS}
        if not any(os.environ.get(name) for name in ENDPOINTS):
            further["endpoint"] = "http://{}:4318/v1/traces".format(os.environ["JAEGER_HOST"])
        self.provider = TracerProvider(resource=Resource.create({
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "kser", "service.instance.id": worker}), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**further), schedule_delay_millis=500))
        self.tracer = self.provider.get_tracer("kser_adapter")

    def close(self):
        """Sends what waits."""
        self.provider.shutdown()

    @contextmanager
    def execution(self, instance, message, queue):
        """The span of an entrypoint's execution, with one for each step below it; gives a function that takes the result.
        Both are the current span meanwhile, for what the entrypoint traces itself. Below the span that the message names."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        name = "{}[{}] - ".format(type(instance).__name__, instance.uuid)
        carrier = {key: message.metadata[key] for key in ("traceparent", "tracestate") if isinstance(message.metadata.get(key), str)}
        with self.span(name + "Execute", TraceContextTextMapPropagator().extract(carrier), SpanKind.CONSUMER, self.attributes(message, queue)) as span:
            for hook, action in STEPS:
                setattr(instance, hook, self.step(name + action, getattr(instance, hook)))
            yield lambda result: tell_result(span, result)

    @contextmanager
    def span(self, *of):
        """The current span meanwhile. The SDK would record all of an exception, with its stack."""
        with self.tracer.start_as_current_span(*of, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield span
            except Exception as reason:
                tell_error(span, type(reason).__name__, str(reason))
                raise

    def step(self, name, hook):
        def run(*arguments):
            with self.span(name):
                return hook(*arguments)
        return run

    def attributes(self, message, queue):
        said = {"kser.task": message.uuid, "kser.entrypoint": message.entrypoint, "kser.worker": self.worker}
        stamp = message.metadata.get("kser") or {}
        if "op" in stamp:
            said.update({"kser.operation": stamp["op"], "kser.position": stamp["pos"], "kser.attempt": stamp["attempt"], "kser.queue": queue})
        return said


def tell_result(span, result):
    """What came of an execution; one that failed with the name and the text of its error."""
    span.set_attribute("kser.retcode", result.retcode)
    if result.retcode == 0:
        return
    error = (result.retval or {}).get("error")
    name = error.get("name") if isinstance(error, dict) else None
    tell_error(span, str(name or "Error"), str(result.stderr))


def tell_error(span, name, text):
    from opentelemetry.trace import StatusCode
    text = text.encode("utf-8", "replace")[:BYTES_MAX].decode("utf-8", "ignore")
    span.set_status(StatusCode.ERROR, text)
    span.add_event("exception", {"exception.type": name, "exception.message": text})
