"""RemotePlanner: a Planner that asks a planner service over gRPC.

Each plan() call is one Plan stream, read by a thread of its own; a second thread answers the
server's credits with the newest observation of that moment. Every wait here has an end. Knows no
server code and no ROS.
"""

import queue
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from emu_planner.plan import (
    Camera,
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    Mailbox,
    Observation,
    PlanComplete,
    PlanError,
    StepOutcome,
    Stop,
    Task,
)
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.credentials import Credentials
from emu_planner.wire.images import ImageConfig
from emu_planner.wire.status import MAX_MESSAGE_BYTES, WIRE_MINOR, error_from_status

# how long one wait for a newer picture lasts before the feeder looks whether its call has ended
FEED_POLL_S = 0.2
# pause between two greetings of a service that does not answer
RETRY_S = 0.05
# how long a finished plan's call may take to end by itself
FAREWELL_S = 0.5


@dataclass(frozen=True)
class ClientConfig:
    """Limits of a RemotePlanner; all times in seconds."""

    # until a connection stands and the service says what it is
    connect_timeout_s: float = 3.0
    # until the service answers the first message
    answer_timeout_s: float = 5.0
    # from then until the plan begins: the service may be loading its model, or be busy
    start_timeout_s: float = 600.0
    # for the source to show a first observation, once the service asks for it
    observation_timeout_s: float = 5.0
    # until the first whole subgoal, and for each later one; the task's own limits go before these
    first_subgoal_timeout_s: float = 300.0
    subgoal_timeout_s: float = 300.0
    # the task's limits are the service's to enforce: this much later the client does it itself
    watchdog_margin_s: float = 2.0
    # the whole call
    overall_timeout_s: float = 3600.0
    # between an Interrupt and cancelling the call
    interrupt_grace_s: float = 2.0
    # the cameras in words: sizes, frames, intrinsics; () declares none
    cameras: tuple[Camera, ...] = ()
    # how frames are sent, and which keyframes are accepted
    images: ImageConfig = field(default_factory=ImageConfig)
    # largest message either way, bytes
    max_message_bytes: int = MAX_MESSAGE_BYTES
    # TLS and token
    credentials: Credentials = field(default_factory=Credentials)


@dataclass(frozen=True)
class ServerInfo:
    """What a service says about itself; state is loading, running or draining."""

    name: str
    version: str
    wire_minor: int
    model: str
    model_version: str
    capabilities: tuple[str, ...]
    state: str
    active_sessions: int
    max_sessions: int


class RemotePlanner:
    """A Planner in another process. Thread-safe: several plan() calls may run at once.

    Args:
        target: "host:port", or "unix:/path/of/socket".
        config: limits, how frames are sent, and who the client is.

    Raises:
        ValueError: the credentials cannot be used; the message says why.
    """

    def __init__(self, target: str, config: ClientConfig | None = None) -> None:
        self.target = target
        self.config = config or ClientConfig()
        self._channel = self.config.credentials.channel(target, _channel_options(self.config))
        self._stub = planner_pb2_grpc.PlannerServiceStub(self._channel)

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """Plan as plan.Planner says. Abandoning the iterator cancels the call."""
        if stop is not None and stop.requested:
            # an interrupt sent behind the opening would race with the first words
            yield PlanComplete(FinishReason.INTERRUPTED)
            return
        opening = codec.task_to_open(task, history, self.config.cameras, str(uuid.uuid4()))
        opening.client_wire_minor = WIRE_MINOR
        self._greet(self.config.connect_timeout_s)
        conversation = _Conversation(self._stub, self.target, self.config, task, frames)
        try:
            conversation.start(opening)
            if stop is not None:
                stop.when_requested(conversation.interrupt)
            yield from conversation.events()
        finally:
            conversation.end()

    def server_info(self) -> ServerInfo:
        """Ask the service what it is. PlanError SERVER_UNAVAILABLE: nobody answers."""
        return self._info(self.config.connect_timeout_s)

    def wait_ready(self, timeout_s: float) -> ServerInfo:
        """Wait until the service is up and its model loaded.

        Raises:
            PlanError: SERVER_UNAVAILABLE or MODEL_NOT_READY when that takes longer.
        """
        deadline = time.monotonic() + timeout_s
        while (info := self._info(max(0.1, deadline - time.monotonic()))).state != "running":
            if time.monotonic() > deadline:
                raise PlanError(
                    ErrorCode.MODEL_NOT_READY,
                    f"the service at {self.target} is {info.state} after {timeout_s:g} s; wait longer",
                    retryable=True,
                )
            time.sleep(0.1)
        return info

    def close(self) -> None:
        """Close the connection; running calls end with SERVER_UNAVAILABLE."""
        self._channel.close()

    def __enter__(self) -> "RemotePlanner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _info(self, timeout_s: float) -> ServerInfo:
        info = self._greet(timeout_s)
        return ServerInfo(
            info.name,
            info.version,
            info.wire_minor,
            info.model,
            info.model_version,
            tuple(info.capabilities),
            codec.SERVER_STATES.get(info.state, "unknown"),
            info.active_sessions,
            info.max_sessions,
        )

    def _greet(self, timeout_s: float) -> pb.ServerInfo:
        # not channel_ready_future: it leaves a thread behind that fails when the channel is closed
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            try:
                response = self._stub.GetServerInfo(
                    pb.GetServerInfoRequest(),
                    timeout=left_s,
                    wait_for_ready=True,
                    metadata=_metadata(self.config),
                )
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and left_s > RETRY_S:
                    # sent on the connection to a service that has just died: there may be a new one
                    time.sleep(RETRY_S)
                    continue
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise _error_of(error, self.target) from error
                raise PlanError(
                    ErrorCode.SERVER_UNAVAILABLE,
                    f"no planner service answers at {self.target} within {timeout_s:g} s; start "
                    "one with `emu-planner serve`, or check the address",
                    retryable=True,
                ) from error
            info: pb.ServerInfo = response.server
            return info


@dataclass(frozen=True)
class _Arrival:
    """What came at which moment: a response, the call's end (None), or what went wrong."""

    at_s: float
    item: pb.PlanResponse | PlanError | None


class _Conversation:
    """One Plan stream: two threads around two queues, and the watchdogs of its reader."""

    def __init__(
        self,
        stub: Any,
        target: str,
        config: ClientConfig,
        task: Task,
        frames: FrameSource,
    ) -> None:
        self._stub, self._target, self._config = stub, target, config
        self._task, self._frames = task, frames
        self._requests: queue.SimpleQueue[pb.PlanRequest | None] = queue.SimpleQueue()
        # no SimpleQueue: a signal at the end of its timed wait makes it wait for ever (Python 3.11)
        self._arrivals: queue.Queue[_Arrival] = queue.Queue()
        self._credits = threading.Semaphore(0)
        self._ended = threading.Event()
        self._over = threading.Event()
        self._settled = False  # the service has said its last word on the plan
        self._interrupted_s: float | None = None
        self._call: Any = None

    def start(self, opening: pb.OpenSession) -> None:
        """Open the stream and start the threads."""
        request = pb.PlanRequest(open=opening)
        self._check_size(request, "the history's keyframes make")
        self._requests.put(request)
        self._call = self._stub.Plan(
            iter(self._requests.get, None),
            timeout=self._config.overall_timeout_s,
            metadata=_metadata(self._config),
        )
        for work in (self._read, self._feed):
            threading.Thread(target=work, name=f"emu-planner{work.__name__}", daemon=True).start()

    def interrupt(self) -> None:
        """Ask the service to stop the plan; wakes the reader, which then waits for little more."""
        self._interrupted_s = time.monotonic()
        self._requests.put(pb.PlanRequest(interrupt=pb.Interrupt()))
        self._arrivals.put(_Arrival(self._interrupted_s, pb.PlanResponse()))

    def end(self) -> None:
        """Half-close, cancel what is left of the call, and let the threads go."""
        self._ended.set()
        self._credits.release()
        self._requests.put(None)
        if self._settled:
            # the service ends the session by itself, and has a free one again before the next plan
            self._over.wait(FAREWELL_S)
        if self._call is not None:
            self._call.cancel()

    def events(self) -> Iterator[Event]:
        """Events until PlanComplete; raises PlanError for all that ends a plan before."""
        watch = _Watch(self._config, self._task, time.monotonic())
        while True:
            deadline_s, reason = watch.deadline()
            if self._interrupted_s is not None:
                deadline_s = min(deadline_s, self._interrupted_s + self._config.interrupt_grace_s)
            try:
                # an arrival that waits already is taken even when its reader was slow to come
                arrival = self._arrivals.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                if self._interrupted_s is not None:
                    yield PlanComplete(FinishReason.INTERRUPTED)
                    return
                raise PlanError(ErrorCode.TIMEOUT, reason, retryable=True) from None
            if isinstance(arrival.item, PlanError):
                raise arrival.item
            if arrival.item is None:
                raise PlanError(
                    ErrorCode.SERVER_UNAVAILABLE,
                    f"the service at {self._target} ended the session without finishing the plan",
                    retryable=True,
                )
            kind = arrival.item.WhichOneof("message")
            self._settled = kind in ("plan_complete", "fault")
            event = self._handle(arrival.item)
            watch.see(arrival.item, arrival.at_s)
            if event is not None:
                yield event
            if isinstance(event, PlanComplete):
                return

    def _handle(self, response: pb.PlanResponse) -> Event | None:
        try:
            return codec.event_from_proto(response, self._config.images.max_pixels)
        except PlanError as error:
            if response.HasField("fault"):
                raise
            raise PlanError(
                ErrorCode.INCOMPATIBLE_SERVER,
                f"the service at {self._target} sent what makes no plan: {error.message}",
            ) from error

    def _read(self) -> None:
        """Thread: every response, then the call's end, into the queue of arrivals."""
        end: PlanError | None = None
        try:
            for response in self._call:
                if response.HasField("credit"):
                    self._credits.release(max(1, response.credit.credits))
                else:
                    self._arrivals.put(_Arrival(time.monotonic(), response))
        except grpc.RpcError as error:
            end = _error_of(error, self._target)
        self._over.set()
        self._arrivals.put(_Arrival(time.monotonic(), end))

    def _feed(self) -> None:
        """Thread: one observation a credit, the newest at the moment when it is sent."""
        sent_seq: int | None = None
        try:
            while True:
                self._credits.acquire()
                if self._ended.is_set():
                    return
                if sent_seq is None:
                    observation = self._frames.newest(self._config.observation_timeout_s)
                elif isinstance(self._frames, Mailbox):
                    newer = _newer(self._frames, sent_seq, self._ended)
                    if newer is None:
                        return
                    observation = newer
                else:
                    # any other source has been asked once, as plan.Planner promises
                    return
                message = codec.observation_to_proto(observation, self._config.images)
                request = pb.PlanRequest(observation=message)
                self._check_size(request, "the frames make")
                self._requests.put(request)
                sent_seq = observation.seq
        except PlanError as error:
            self._arrivals.put(_Arrival(time.monotonic(), error))

    def _check_size(self, request: pb.PlanRequest, what: str) -> None:
        size, limit = request.ByteSize(), self._config.max_message_bytes
        if size > limit:
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"{what} a message of {size} bytes, above the limit of {limit}; send less",
            )


class _Watch:
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


def _newer(frames: Mailbox, seq: int, ended: threading.Event) -> Observation | None:
    while not ended.is_set():
        try:
            return frames.newer_than(seq, FEED_POLL_S)
        except PlanError:
            # nothing newer yet: the service has what it needs and is busy with it
            continue
    return None


def _metadata(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    try:
        return config.credentials.metadata()
    except ValueError as error:  # the token file was there when the client was made
        raise PlanError(ErrorCode.UNAUTHENTICATED, str(error)) from error


def _error_of(error: grpc.RpcError, target: str) -> PlanError:
    return error_from_status(error.code(), error.details() or "", error.trailing_metadata() or (), target)


def _channel_options(config: ClientConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # a service that is back is found soon
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # a proxy of the environment is for the web, and breaks a robot's link in a confusing way
        ("grpc.enable_http_proxy", 0),
    ]
