"""RemotePlanner: a Planner that asks a planner service over gRPC.

Each plan() call is one conversation (conversation.py), which outlives a link that breaks. Every wait
here has an end. Knows no server code and no ROS.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    PlanComplete,
    PlanError,
    StepOutcome,
    Stop,
    Task,
)
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client_config import ClientConfig
from emu_planner.wire.conversation import Conversation
from emu_planner.wire.link import error_of, is_broken, metadata_of
from emu_planner.wire.status import RESUME, WIRE_MINOR

__all__ = ["ClientConfig", "RemotePlanner", "ServerInfo"]

# pause between two greetings of a service that does not answer
RETRY_S = 0.05


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
        self._channel: grpc.Channel | None = None
        self._connecting = threading.Lock()
        self._closed = False
        self._stub: Any = None
        self._connect()
        # called when a link breaks that may come back: plan() goes on, and its reader sees no error
        self.link_lost: Callable[[PlanError], None] = _ignore
        # called at the beginning of each plan(), with what the service says that it is
        self.greeted: Callable[[ServerInfo], None] = _ignore
        self._conversations: set[Conversation] = set()

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
        info = self._info(self.config.connect_timeout_s)
        self.greeted(info)
        resumable = RESUME in info.capabilities and self.config.resume_patience_s > 0
        if resumable:
            opening.client_capabilities.append(RESUME)
        conversation = Conversation(
            self._stub,
            self.target,
            self.config,
            task,
            frames,
            opening,
            resumable=resumable,
            connect=self._connect,
            link_lost=self.link_lost,
        )
        self._conversations.add(conversation)
        try:
            conversation.start()
            if stop is not None:
                stop.when_requested(conversation.interrupt)
            yield from conversation.events()
        finally:
            self._conversations.discard(conversation)
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
        running = list(self._conversations)
        for conversation in running:
            conversation.say_goodbye()
        for conversation in running:
            conversation.await_end()
        with self._connecting:
            self._closed = True
            if self._channel is not None:
                self._channel.close()

    def __enter__(self) -> "RemotePlanner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> Any:
        """A stub on a connection of its own: what hangs on another one does not matter to it.

        Raises:
            CredentialsError: they cannot be used.
            PlanError: SERVER_UNAVAILABLE when this client has been closed.
        """
        options = [*_channel_options(self.config), ("grpc.use_local_subchannel_pool", 1)]
        with self._connecting:
            if self._closed:
                raise PlanError(ErrorCode.SERVER_UNAVAILABLE, f"this client of {self.target} has been closed")
            # an older channel lives on while calls are on it, and goes with the last of them
            self._channel = self.config.credentials.channel(self.target, options)
            self._stub = planner_pb2_grpc.PlannerServiceStub(self._channel)
            return self._stub

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
                    metadata=metadata_of(self.config),
                )
            except grpc.RpcError as error:
                if is_broken(error) and left_s > RETRY_S:
                    # sent on the connection to a service that has just died: there may be a new one
                    time.sleep(RETRY_S)
                    continue
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise error_of(error, self.target) from error
                raise PlanError(
                    ErrorCode.SERVER_UNAVAILABLE,
                    f"no planner service answers at {self.target} within {timeout_s:g} s; start "
                    "one with `emu-planner serve`, or check the address",
                    retryable=True,
                ) from error
            info: pb.ServerInfo = response.server
            return info


def _ignore(_: object) -> None:
    """Nobody wants to know."""


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
