"""One plan of a client: the links that it takes, one after another, and the watchdogs of its reader.

A link that breaks is made anew, with the session's id and the last response that arrived; so the
plan's reader sees every event once. Knows no channel and no server code.
"""

import contextlib
import queue
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    PlanComplete,
    PlanError,
    Task,
)
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client_config import ClientConfig
from emu_planner.wire.link import Arrival, CallEnd, Link
from emu_planner.wire.status import SESSION_KEY, WIRE_MINOR

# how long a finished plan's call may take to end by itself
FAREWELL_S = 0.5
# the first pause between two tries to get a link back, and the longest
RETRY_FIRST_S, RETRY_LONGEST_S = 0.05, 1.0

# the session is there no more, or what came after the last response is not
_GONE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE)
# what passes: the service at the address is about to stop, or full
_PASSING = (ErrorCode.MODEL_NOT_READY, ErrorCode.RESOURCE_EXHAUSTED)


class Conversation:
    """A plan from its opening to its last event.

    Args:
        stub: of the service; so are target and config.
        target: see stub.
        config: see stub.
        task: for the time limits that it sets.
        frames: where observations come from.
        opening: the request. It is sent again when a link breaks before anything has arrived.
        resumable: whether the service has said that it can resume.
        connect: makes a new connection, and a stub on it, when the present one is silent.
        link_lost: told of each break, before the first try to come back.
    """

    def __init__(
        self,
        stub: Any,
        target: str,
        config: ClientConfig,
        task: Task,
        frames: FrameSource,
        opening: pb.OpenSession,
        *,
        resumable: bool,
        connect: Callable[[], Any],
        link_lost: Callable[[PlanError], None],
    ) -> None:
        self._stub, self._target, self._config = stub, target, config
        self._task, self._frames, self._opening = task, frames, opening
        self._connect, self._link_lost = connect, link_lost
        self._pulse = Pulse(config.ping_after_s)
        self._recovery = Recovery(config.resume_patience_s if resumable else 0.0)
        # no SimpleQueue: a signal at the end of its timed wait makes it wait for ever (Python 3.11)
        self._arrivals: queue.Queue[Arrival] = queue.Queue()
        tracing = config.tracing
        self._trace = tracing.ask(opening.session_id, target) if tracing is not None else None
        self._error: PlanError | None = None
        self._link = self._new_link()
        self._last_seq = 0  # of the newest response that has arrived
        self._settled = False  # the service has said its last word on the plan
        self._interrupted_s: float | None = None

    def start(self) -> None:
        """Make the first call."""
        self._link.open(self._opening)

    def interrupt(self) -> None:
        """Ask the service to stop the plan; wakes the reader, which then waits for little more."""
        self._interrupted_s = time.monotonic()
        self._link.send(pb.PlanRequest(interrupt=pb.Interrupt()))
        self._arrivals.put(Arrival(self._link, self._interrupted_s, pb.PlanResponse()))

    def say_goodbye(self) -> None:
        """Tell the service that nobody will come back."""
        if self._recovery.possible and not self._recovery.under_way:
            self._link.send(pb.PlanRequest(close=pb.CloseSession()))

    def end(self) -> None:
        """Take leave, half-close, and cancel what is left of the call."""
        self.say_goodbye()
        self._link.half_close()
        if self._settled or (self._recovery.possible and not self._recovery.under_way):
            # the service ends the session by itself, and has a free one again before the next plan
            self._link.wait(FAREWELL_S)
        self._link.cancel()
        if self._trace is not None:
            self._trace.end(self._error)

    def await_end(self) -> None:
        """After say_goodbye: wait a moment for the service to have heard it."""
        self._link.wait(FAREWELL_S)

    def events(self) -> Iterator[Event]:
        """Events until PlanComplete; raises PlanError for all that ends a plan before."""
        try:
            yield from self._events()
        except PlanError as error:
            self._error = error
            raise

    def _events(self) -> Iterator[Event]:
        watch = Watch(self._config, self._task, time.monotonic())
        while True:
            arrival = self._next(watch)
            if arrival is None:
                yield PlanComplete(FinishReason.INTERRUPTED)
                return
            if isinstance(arrival.item, PlanError):
                raise arrival.item
            if isinstance(arrival.item, CallEnd):
                self._lose(arrival.item)
                continue
            event = self._take(arrival.item)
            watch.see(arrival.item, arrival.at_s)
            if event is not None:
                if self._trace is not None:
                    self._trace.see(event)
                yield event
            if isinstance(event, PlanComplete):
                return

    def _next(self, watch: "Watch") -> Arrival | None:
        """What came over the present link; None: an interrupted plan has not ended in time."""
        while True:
            due_s, reason = watch.deadline()
            if self._interrupted_s is not None:
                due_s = min(due_s, self._interrupted_s + self._config.interrupt_grace_s)
            try:
                # an arrival that waits already is taken even when its reader was slow to come
                until_s = min(due_s, self._recovery.due_s, self._pulse.due_s)
                arrival = self._arrivals.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                if self._recovery.due_s <= min(due_s, self._pulse.due_s):
                    self._recover()
                    continue
                if self._pulse.due_s <= due_s:
                    self._feel_pulse()
                    continue
                if self._interrupted_s is not None:
                    return None
                raise PlanError(ErrorCode.TIMEOUT, reason, retryable=True) from None
            if arrival.link is self._link:
                self._pulse.felt(arrival.at_s)
                return arrival

    def _take(self, response: pb.PlanResponse) -> Event | None:
        """The event of a response that has not been there before."""
        kind = response.WhichOneof("message")
        if kind == "opened":
            self._recovery.succeed(self._config, response.opened)
            if self._recovery.possible:
                self._pulse.start()
            if self._trace is not None and response.opened.resumed:
                self._trace.note("resumed")
            if self._interrupted_s is not None:
                self._link.send(pb.PlanRequest(interrupt=pb.Interrupt()))
        if response.seq:
            if response.seq <= self._last_seq:
                return None
            if response.seq != self._last_seq + 1:
                raise PlanError(
                    ErrorCode.INCOMPATIBLE_SERVER,
                    f"the service at {self._target} sent response {response.seq} after {self._last_seq}",
                )
            self._last_seq = response.seq
            if kind == "subgoal":
                received = pb.Received(seq=response.seq)
                self._link.send(pb.PlanRequest(received=received))
        self._settled = kind in ("plan_complete", "fault")
        decoding: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self._trace is not None and kind == "subgoal":
            decoding = self._trace.work("keyframe decode", response.subgoal.index)
        try:
            with decoding:
                return codec.event_from_proto(response, self._config.images.max_pixels)
        except PlanError as error:
            if response.HasField("fault"):
                raise
            raise PlanError(
                ErrorCode.INCOMPATIBLE_SERVER,
                f"the service at {self._target} sent what makes no plan: {error.message}",
            ) from error

    def _lose(self, end: CallEnd) -> None:
        """The call has ended: get the link back, or raise why that is the plan's end."""
        recovery, error = self._recovery, end.error
        if error is None:
            raise PlanError(
                ErrorCode.SERVER_UNAVAILABLE,
                f"the service at {self._target} ended the session without finishing the plan",
                retryable=True,
            )
        if recovery.under_way and end.status in _GONE:
            raise PlanError(
                ErrorCode.SERVER_UNAVAILABLE,
                f"the link broke, and the plan cannot go on where it was: {error.message}; plan anew",
                retryable=True,
            )
        passes = recovery.under_way and error.code in _PASSING
        if not recovery.possible or not (end.broken or passes):
            raise error
        self._pulse.stop()
        if not recovery.under_way:
            self._link_lost(error)
            if self._trace is not None:
                self._trace.note("link lost")
        recovery.fail(error)

    def _recover(self) -> None:
        """It is time to try again, or to give up a try that nobody answers."""
        recovery = self._recovery
        if recovery.trying:
            self._change_connection()
            recovery.fail(recovery.reason)
            return
        recovery.begin(self._config.answer_timeout_s)
        link = self._new_link()
        # `open` is its first message, whatever interrupt() sends from another thread
        link.open(self._reopening())
        old, self._link = self._link, link
        old.cancel()

    def _feel_pulse(self) -> None:
        """Ask a silent service for a sign of life, or take the silence for a broken link."""
        if not self._pulse.asked:
            self._pulse.ask()
            self._link.send(pb.PlanRequest(ping=pb.Ping()))
            return
        self._change_connection()
        silence_s = 3 * self._config.ping_after_s
        words = f"the planner service at {self._target} has been silent for over {silence_s:g} s"
        error = PlanError(ErrorCode.SERVER_UNAVAILABLE, words, retryable=True)
        self._lose(CallEnd(error, grpc.StatusCode.UNAVAILABLE, broken=True))

    def _change_connection(self) -> None:
        try:
            self._stub = self._connect()
        except ValueError as error:  # a certificate was there when the client was made
            raise PlanError(ErrorCode.UNAUTHENTICATED, str(error)) from error
        self._leave_link()

    def _leave_link(self) -> None:
        """From now on nothing counts that comes over the present link."""
        old, self._link = self._link, self._new_link()
        old.cancel()

    def _reopening(self) -> pb.OpenSession:
        if not self._last_seq:
            # nothing has come of it: whether the service knows the session or not, this is right
            return self._opening
        return pb.OpenSession(
            session_id=self._opening.session_id,
            client_wire_minor=WIRE_MINOR,
            client_capabilities=self._opening.client_capabilities,
            resume=pb.ResumePoint(last_response_seq=self._last_seq),
        )

    def _new_link(self) -> Link:
        metadata: tuple[tuple[str, str], ...] = ((SESSION_KEY, self._opening.session_id),)
        if self._trace is not None:
            metadata += self._trace.metadata()
        return Link(self._stub, self._target, self._config, self._frames, self._arrivals, metadata)


class Recovery:
    """When a broken link is tried again, and for how long. Times on the monotonic clock.

    Args:
        patience_s: from the break on; 0: it is not tried.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.possible = patience_s > 0
        self.trying = False  # a new link has been opened, and is not answered yet
        self.due_s = float("inf")  # when to try again, or to give up the present try
        self._lost: PlanError | None = None
        self._until_s = self._delay_s = 0.0

    @property
    def under_way(self) -> bool:
        """Whether the link is broken."""
        return self._lost is not None

    @property
    def reason(self) -> PlanError:
        """What broke it."""
        assert self._lost is not None, "asked while under way only"
        return self._lost

    def fail(self, error: PlanError) -> None:
        """The link broke, or a try failed; raises what broke it when it is time to give up."""
        now_s = time.monotonic()
        if self._lost is None:
            self._lost, self._until_s = error, now_s + self._patience_s
            self._delay_s = RETRY_FIRST_S
        # jitter: robots that lost one service do not come back in one moment
        self.due_s, self.trying = now_s + self._delay_s * random.uniform(0.5, 1.0), False
        self._delay_s = min(2 * self._delay_s, RETRY_LONGEST_S)
        if self.due_s >= self._until_s:
            self.due_s = float("inf")
            raise self._lost

    def begin(self, answer_timeout_s: float) -> None:
        """A new link is tried."""
        self.trying, self.due_s = True, time.monotonic() + answer_timeout_s

    def succeed(self, config: ClientConfig, opened: pb.SessionOpened) -> None:
        """The service has answered; it says for how long it would keep the session."""
        window_s = codec.seconds(opened.resume_window)
        self.possible = self.possible and window_s > 0
        self._patience_s = min(config.resume_patience_s, window_s)
        self._lost, self.trying, self.due_s = None, False, float("inf")


class Pulse:
    """When a silent link is asked for a sign of life, and given up. Times on the monotonic clock.

    Args:
        after_s: of silence; twice that for the answer.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._running = False
        self.asked = False
        self.due_s = float("inf")

    def start(self) -> None:
        """The link stands."""
        self._running = True
        self.felt(time.monotonic())

    def stop(self) -> None:
        """There is none."""
        self._running, self.asked, self.due_s = False, False, float("inf")

    def felt(self, at_s: float) -> None:
        """Something came at that moment."""
        if self._running:
            self.asked, self.due_s = False, at_s + self._after_s

    def ask(self) -> None:
        """The service has been asked now."""
        self.asked, self.due_s = True, time.monotonic() + 2 * self._after_s


class Watch:
    """When the next sign of progress is due, and what to say when it does not come."""

    def __init__(self, config: ClientConfig, task: Task, now_s: float) -> None:
        self._config, self._generation = config, task.generation
        self._answered = False
        self._overall_s = now_s + config.overall_timeout_s
        self._set(now_s, config.answer_timeout_s, "an answer to the first message")

    def deadline(self) -> tuple[float, str]:
        """On the monotonic clock, with the words for its passing."""
        if self._overall_s < self._due_s:
            return self._overall_s, f"the plan took over {self._config.overall_timeout_s:g} s"
        return self._due_s, f"waited {self._limit_s:g} s for {self._what}, in vain"

    def see(self, response: pb.PlanResponse, at_s: float) -> None:
        """Move the deadline on for what arrived at that moment."""
        config, margin = self._config, self._config.watchdog_margin_s
        match response.WhichOneof("message"):
            case "opened" | "progress" if not self._answered:
                # later ones tell of a queue; they do not make the wait longer
                self._answered = True
                self._set(at_s, config.start_timeout_s, "the plan to begin")
            case "plan_started":
                own = self._generation.first_subgoal_timeout_s
                limit = config.first_subgoal_timeout_s if own is None else own + margin
                self._set(at_s, limit, "the first subgoal")
            case "subgoal":
                own = self._generation.subgoal_timeout_s
                limit = config.subgoal_timeout_s if own is None else own + margin
                self._set(at_s, limit, "the next subgoal")

    def _set(self, now_s: float, limit_s: float, what: str) -> None:
        self._due_s, self._limit_s, self._what = now_s + limit_s, limit_s, what
