"""Traces of plans through OpenTelemetry, at both ends of the wire: optional, and off by default.

A session is a span; in it each step, and in that its words, its keyframe and the work on the picture.
The context crosses in the call's metadata (W3C traceparent), so that the service's session is a child of
the client's. Spans hold numbers, ids and codes; no words of a task, no picture, no token. Knows no
channel and no exporter but the standard one; nothing of OpenTelemetry is imported until it is asked for.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import emu_planner
from emu_planner.plan import (
    Event,
    KeyframeProgress,
    PlanComplete,
    PlanError,
    PlanStarted,
    StepComplete,
    TextDelta,
)

VARIABLE = "EMU_PLANNER_TRACE"
_TIMES = ("queue_s", "prefill_s", "text_s", "keyframe_s", "decode_s")
_COUNTS = ("prompt_tokens", "cached_tokens", "generated_tokens")

Metadata = Iterable[tuple[str, str | bytes]]


class Tracing:
    """Makes the spans of sessions.

    Args:
        provider: an OpenTelemetry TracerProvider; None: the process's own.

    Raises:
        ValueError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ValueError(f"{VARIABLE}: {error.name} is missing; {_REMEDY}") from error
        self._trace, self._propagator = trace, TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("emu_planner", emu_planner.__version__, provider)

    @classmethod
    def from_environment(
        cls, service_name: str, environment: Mapping[str, str] | None = None
    ) -> "Tracing | None":
        """With EMU_PLANNER_TRACE=1, spans to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

        None without it. A provider that the process has set before stays.

        Raises:
            ValueError: a package is missing; says which, and what to install.
        """
        values = os.environ if environment is None else environment
        if values.get(VARIABLE, "") in ("", "0"):
            return None
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ValueError(f"{VARIABLE}: {error.name} is missing; {_REMEDY}") from error
        if not isinstance(trace.get_tracer_provider(), TracerProvider):
            # OTEL_SERVICE_NAME goes before the name that is given here
            name = values.get("OTEL_SERVICE_NAME") or service_name
            provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            trace.set_tracer_provider(provider)
        return cls()

    def ask(self, session_id: str, server: str) -> "SessionTrace":
        """A client's session, child of whatever span its caller is in."""
        attributes = {"emu.session_id": session_id, "server.address": server}
        return self._session(None, self._trace.SpanKind.CLIENT, attributes)

    def serve(self, session_id: str, metadata: Metadata) -> "SessionTrace":
        """A service's session, child of the client's whose call came with that metadata."""
        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        context = self._propagator.extract(carrier)
        return self._session(context, self._trace.SpanKind.SERVER, {"emu.session_id": session_id})

    def _session(self, context: Any, kind: Any, attributes: dict[str, str]) -> "SessionTrace":
        span = self._tracer.start_span("session", context=context, kind=kind, attributes=attributes)
        return SessionTrace(self._tracer, self._trace, self._propagator, span)


class SessionTrace:
    """The spans of one session. Thread-safe; what comes after `end` does nothing."""

    def __init__(self, tracer: Any, trace: Any, propagator: Any, span: Any) -> None:
        self._tracer, self._trace, self._propagator = tracer, trace, propagator
        self._session = span
        self._lock = threading.Lock()
        self._since_ns = time.time_ns()  # the present step's beginning
        self._index = -1
        self._step: Any = None
        self._part: Any = None  # of the step: its words, then its keyframe
        self._part_name = ""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What tells the other end whose child its session is."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=self._below(self._session))
        return tuple(carrier.items())

    def see(self, event: Event) -> None:
        """Begin and end spans as the plan's events tell."""
        with self._lock:
            match event:
                case PlanStarted():
                    self._since_ns = time.time_ns()
                    self._session.add_event("plan started", {"emu.seed": str(event.seed)})
                case TextDelta():
                    self._enter(event.index, "words")
                case KeyframeProgress():
                    self._enter(event.index, "keyframe")
                case StepComplete():
                    self._enter(event.step.index, self._part_name)
                    for name in _TIMES + _COUNTS:
                        self._step.set_attribute(f"emu.{name}", getattr(event.timing, name))
                    self._leave_step()
                case PlanComplete():
                    self._leave_step()
                    self._session.add_event("plan complete", {"emu.reason": event.reason.value})

    def note(self, what: str) -> None:
        """A moment of the session."""
        self._session.add_event(what)

    @contextlib.contextmanager
    def work(self, name: str, index: int) -> Iterator[None]:
        """A span around work on the step of that number, in whatever thread it is done."""
        with self._lock:
            context = self._below(self._step if index == self._index and self._step else self._session)
        span = self._tracer.start_span(name, context=context, attributes={"emu.step": index})
        try:
            yield
        finally:
            span.end()

    def end(self, error: BaseException | None = None) -> None:
        """The session is over; so is what has not ended in it."""
        with self._lock:
            self._leave_step()
            if error is not None:
                code = error.code.value if isinstance(error, PlanError) else type(error).__name__
                self._session.set_attribute("error.type", code)
                self._session.set_status(self._trace.StatusCode.ERROR, code)
            self._session.end()

    def _enter(self, index: int, part: str) -> None:
        if self._step is None or index != self._index:
            self._leave_step()
            self._index = index
            self._step = self._tracer.start_span(
                "step",
                context=self._below(self._session),
                attributes={"emu.step": index},
                start_time=self._since_ns,
            )
        if part and part != self._part_name:
            self._leave_part()
            self._part_name = part
            self._part = self._tracer.start_span(part, context=self._below(self._step))

    def _leave_step(self) -> None:
        self._leave_part()
        if self._step is not None:
            self._step.end()
            self._step = None
            self._since_ns = time.time_ns()

    def _leave_part(self) -> None:
        if self._part is not None:
            self._part.end()
            self._part, self._part_name = None, ""

    def _below(self, span: Any) -> Any:
        return self._trace.set_span_in_context(span)


_REMEDY = (
    "for traces install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, or unset the variable"
)
