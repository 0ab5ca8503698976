"""What the service does, in numbers for Prometheus: plans, times, tokens, sessions, queue.

Two halves: MeasuredPlanner wraps the planner that is served and sees every plan; gauges read the
service's state when they are scraped. Nothing here holds words, pictures or names of a client.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from emu_planner.plan import (
    ErrorCode,
    Event,
    FrameSource,
    PlanComplete,
    PlanError,
    Planner,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
    TextDelta,
)
from emu_planner.plan.event import Timing
from emu_planner.service.state import ServiceState

# seconds: from a word of nano to an image of the full model on one GPU
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.plans = Counter(
            "emu_planner_plans", "Plans that ended, by finish reason or error code", ["reason"], **own
        )
        self.running = Gauge("emu_planner_plans_running", "Plans that are being generated", **own)
        self.steps = Counter("emu_planner_steps", "Whole steps", **own)
        self.tokens = Counter("emu_planner_tokens", "Tokens, by kind", ["kind"], **own)
        self.spent = Counter("emu_planner_seconds", "Seconds of the model, by phase", ["phase"], **own)
        self.first_word = self._histogram("first_word", "From the start of a plan to its first word")
        self.first_step = self._histogram("first_step", "From the start of a plan to its first whole step")
        self.step = self._histogram("step", "From one whole step to the next")

    def watch(self, state: ServiceState) -> None:
        """Show the sessions, the queue and the readiness of a service."""
        for name, words, read in (
            ("sessions", "Sessions that are open", lambda: len(state.sessions)),
            ("sessions_left", "Sessions that are kept though their link is broken", lambda: state.left),
            ("plans_waiting", "Plans in the queue", lambda: state.slots.waiting),
            ("ready", "1 when the model is loaded", lambda: int(state.planner is not None)),
            ("draining", "1 when the service is about to stop", lambda: int(state.draining)),
        ):
            Gauge(f"emu_planner_{name}", words, registry=self.registry).set_function(read)

    def measured(self, planner: Planner) -> "MeasuredPlanner":
        """The planner, counted here."""
        return MeasuredPlanner(planner, self)

    def serve(self, host: str, port: int) -> int:
        """Answer scrapes at http://host:port/metrics in a thread; port 0 takes a free one.

        Returns:
            The port. OSError: it is taken.
        """
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(server.server_port)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(f"emu_planner_{name}_seconds", words, registry=self.registry, buckets=_BUCKETS)


class MeasuredPlanner:
    """Any planner, counted."""

    def __init__(self, planner: Planner, metrics: Metrics) -> None:
        self._planner, self._metrics = planner, metrics

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner."""
        metrics, reason = self._metrics, "abandoned"
        begun_s = last_s = time.monotonic()
        spoken = whole = False
        metrics.running.inc()
        try:
            for event in self._planner.plan(task, frames, history, stop=stop):
                now_s = time.monotonic()
                match event:
                    case TextDelta() if not spoken:
                        spoken = True
                        metrics.first_word.observe(now_s - begun_s)
                    case StepComplete():
                        (metrics.step if whole else metrics.first_step).observe(now_s - last_s)
                        whole, last_s = True, now_s
                        metrics.steps.inc()
                    case PlanComplete():
                        reason = event.reason.value
                        self._count(event.timing)
                yield event
        except PlanError as error:
            reason = error.code.value
            raise
        except Exception:
            reason = ErrorCode.INTERNAL.value
            raise
        finally:
            metrics.running.dec()
            metrics.plans.labels(reason).inc()

    def _count(self, timing: Timing) -> None:
        tokens = {"prompt": timing.prompt_tokens, "cached": timing.cached_tokens}
        for kind, count in {**tokens, "generated": timing.generated_tokens}.items():
            self._metrics.tokens.labels(kind).inc(count)
        for phase in ("prefill", "text", "keyframe", "decode"):
            self._metrics.spent.labels(phase).inc(getattr(timing, f"{phase}_s"))
