"""One Plan stream of a client: a thread that reads it, and one that answers its credits.

Both write into a queue of arrivals; which of them matters is for the conversation to say. Knows no
resume and no watchdog.
"""

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

import grpc

from emu_planner.plan import ErrorCode, FrameSource, Mailbox, Observation, PlanError
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client_config import ClientConfig
from emu_planner.wire.status import CODE_KEY, error_from_status

# how long one wait for a newer picture lasts before the feeder looks whether its call has ended
FEED_POLL_S = 0.2


@dataclass(frozen=True)
class CallEnd:
    """How a call ended: with an error or, None, in order."""

    error: PlanError | None
    status: grpc.StatusCode = grpc.StatusCode.OK
    # nobody at the other end has said so: the connection broke, or could not be made
    broken: bool = False


@dataclass(frozen=True)
class Arrival:
    """What came, over which link, at which moment: a response, the call's end, or a failure of ours."""

    link: "Link"
    at_s: float
    item: pb.PlanResponse | CallEnd | PlanError


class Link:
    """A call from its `open` on.

    Args:
        stub: of the service.
        target: its address, for words.
        config: limits, and how frames are sent.
        frames: asked for the newest observation of the moment when a credit comes.
        arrivals: where everything goes.
        metadata: sent along with the call, beside who the client is.
    """

    def __init__(
        self,
        stub: Any,
        target: str,
        config: ClientConfig,
        frames: FrameSource,
        arrivals: "queue.Queue[Arrival]",
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._stub, self._target, self._config = stub, target, config
        self._frames, self._arrivals, self._metadata = frames, arrivals, metadata
        self._requests: queue.SimpleQueue[pb.PlanRequest | None] = queue.SimpleQueue()
        self._credits = threading.Semaphore(0)
        self._ended = threading.Event()
        self._over = threading.Event()
        self._call: Any = None

    def open(self, opening: pb.OpenSession) -> None:
        """Make the call.

        Raises:
            PlanError: the opening is too large, there is no token to send, or the client was closed.
        """
        request = pb.PlanRequest(open=opening)
        self._check_size(request, "the history's keyframes make")
        self._requests.put(request)
        metadata = metadata_of(self._config) + self._metadata
        try:
            self._call = self._stub.Plan(
                iter(self._requests.get, None), timeout=self._config.overall_timeout_s, metadata=metadata
            )
        except ValueError as error:  # gRPC's word for a channel that has been closed
            words = f"this client of {self._target} has been closed"
            raise PlanError(ErrorCode.SERVER_UNAVAILABLE, words) from error
        for work in (self._read, self._feed):
            threading.Thread(target=work, name=f"emu-planner{work.__name__}", daemon=True).start()

    def send(self, request: pb.PlanRequest) -> None:
        """Send, behind what is still to be sent."""
        self._requests.put(request)

    def half_close(self) -> None:
        """Send nothing more."""
        self._ended.set()
        self._credits.release()
        self._requests.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait so long for the service to end the call, if one was made."""
        if self._call is not None:
            self._over.wait(timeout_s)

    def cancel(self) -> None:
        """Drop what is left of the call, and let the threads go."""
        self.half_close()
        if self._call is not None:
            self._call.cancel()

    def _read(self) -> None:
        """Thread: every response, then the call's end, into the queue of arrivals."""
        end = CallEnd(None)
        try:
            for response in self._call:
                if response.HasField("credit"):
                    self._credits.release(max(1, response.credit.credits))
                else:
                    self._arrive(response)
        except grpc.RpcError as error:
            end = CallEnd(error_of(error, self._target), error.code(), is_broken(error))
        self._over.set()
        self._arrive(end)

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
            self._arrive(error)
        except Exception as error:
            # a defect of the source: without this its thread would end, and the plan wait for a picture
            words = f"the source of frames failed: {type(error).__name__}: {error}"
            failure = PlanError(ErrorCode.INTERNAL, words)
            failure.__cause__ = error
            self._arrive(failure)

    def _arrive(self, item: pb.PlanResponse | CallEnd | PlanError) -> None:
        self._arrivals.put(Arrival(self, time.monotonic(), item))

    def _check_size(self, request: pb.PlanRequest, what: str) -> None:
        size, limit = request.ByteSize(), self._config.max_message_bytes
        if size > limit:
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"{what} a message of {size} bytes, above the limit of {limit}; send less",
            )


def metadata_of(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """What is sent along with each call. PlanError UNAUTHENTICATED: the token's file is gone."""
    try:
        return config.credentials.metadata()
    except ValueError as error:  # the token file was there when the client was made
        raise PlanError(ErrorCode.UNAUTHENTICATED, str(error)) from error


def is_broken(error: grpc.RpcError) -> bool:
    """Whether the call failed on its way, and not by the service's word."""
    failed = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    return failed and CODE_KEY not in dict(error.trailing_metadata() or ())


def error_of(error: grpc.RpcError, target: str) -> PlanError:
    """The PlanError that a failed call stands for."""
    return error_from_status(error.code(), error.details() or "", error.trailing_metadata() or (), target)


def _newer(frames: Mailbox, seq: int, ended: threading.Event) -> Observation | None:
    while not ended.is_set():
        try:
            return frames.newer_than(seq, FEED_POLL_S)
        except PlanError:
            # nothing newer yet: the service has what it needs and is busy with it
            continue
    return None
