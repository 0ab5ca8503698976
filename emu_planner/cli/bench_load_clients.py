"""The clients of `bench load`, in processes of their own: streams that plan, slow readers, peers that go.

A stream is a robot: RemotePlanner, one plan after another. The odd ones speak the wire themselves. Knows no
server code; what is counted comes back as plain numbers, so that it crosses a process border.
"""

import contextlib
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from emu_planner.plan import (
    ErrorCode,
    Frame,
    Generation,
    Observation,
    PlanError,
    StepComplete,
    Still,
    Task,
    TextDelta,
)
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client import RemotePlanner
from emu_planner.wire.images import ImageConfig
from emu_planner.wire.status import MAX_MESSAGE_BYTES

# steps that a slow reader and a peer that goes ask for: their plans outlast the test where the planner obeys
LONG = 1000
INSTRUCTION = "stack the red block on the blue block"


@dataclass(frozen=True)
class Asked:
    """What every robot asks for."""

    # the sentence
    task: str = INSTRUCTION
    # of a robot, by the names that the checkpoint knows; size of their pictures, px
    cameras: tuple[str, ...] = ("front", "side")
    width: int = 640
    height: int = 480

    def view(self) -> Observation:
        """What a robot sees."""
        return robot_view(self.cameras, self.width, self.height)


@dataclass(frozen=True)
class Streams:
    """How a process's share of a case plans."""

    target: str
    # robots in this process, each in a thread
    streams: int
    # begin no plan after this
    seconds: float
    asked: Asked = Asked()
    # each robot's, from the end of a plan to the next, s
    pause_s: float = 0.0


@dataclass
class Counted:
    """What the streams of one or more processes saw; times in seconds."""

    first_word: list[float] = field(default_factory=list)
    first_subgoal: list[float] = field(default_factory=list)
    # from one whole subgoal to the next of the same plan
    step: list[float] = field(default_factory=list)
    plans: int = 0
    # calls that were told RESOURCE_EXHAUSTED, and the waits that the service suggested
    rejected: int = 0
    retry: list[float] = field(default_factory=list)
    # plans that ended in any other way than whole, by error code
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counted") -> None:
        """Take in what another counted."""
        for name in ("first_word", "first_subgoal", "step", "retry"):
            getattr(self, name).extend(getattr(other, name))
        self.plans += other.plans
        self.rejected += other.rejected
        self.errors.update(other.errors)


def robot_view(cameras: Sequence[str], width: int, height: int, seq: int = 1) -> Observation:
    """Pictures of a table with a block and a camera's noise, the same in every process."""
    rng = np.random.default_rng(0)
    rgb = np.repeat(np.linspace(60, 180, height)[:, None], width, axis=1)[..., None].repeat(3, axis=2)
    rgb[height // 4 : height // 2, width // 4 : width // 2] = (170, 60, 50)
    noisy = np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
    return Observation(tuple(Frame(noisy, camera, 1.0) for camera in cameras), seq)


def run_streams(streams: Streams) -> Counted:
    """Plan in every stream until the time is over."""
    counted = [Counted() for _ in range(streams.streams)]
    frames = Still(streams.asked.view())
    threads = [threading.Thread(target=_stream, args=(streams, frames, own)) for own in counted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Counted()
    for own in counted:
        total.add(own)
    return total


def _stream(streams: Streams, frames: Still, counted: Counted) -> None:
    until_s = time.monotonic() + streams.seconds
    with RemotePlanner(streams.target) as planner:
        while time.monotonic() < until_s:
            try:
                _time_plan(planner, streams.asked.task, frames, counted)
            except PlanError as error:
                if error.code is not ErrorCode.RESOURCE_EXHAUSTED:
                    counted.errors[error.code.value] += 1
                    continue
                counted.rejected += 1
                if error.retry_after_s is not None:
                    counted.retry.append(error.retry_after_s)
                    _sleep(error.retry_after_s, until_s)
            else:
                _sleep(streams.pause_s, until_s)


def _sleep(seconds: float, until_s: float) -> None:
    time.sleep(min(seconds, max(0.0, until_s - time.monotonic())))


def _time_plan(planner: RemotePlanner, task: str, frames: Still, counted: Counted) -> None:
    begun_s = last_s = time.monotonic()
    spoken = whole = False
    for event in planner.plan(Task(task), frames):
        now_s = time.monotonic()
        if isinstance(event, TextDelta) and not spoken:
            spoken = True
            counted.first_word.append(now_s - begun_s)
        if isinstance(event, StepComplete):
            (counted.step if whole else counted.first_subgoal).append(now_s - last_s)
            whole, last_s = True, now_s
    counted.plans += 1


class RawSession:
    """A Plan call by hand: it answers credits, and reads when it is told to.

    Args:
        target: "host:port" of the service, on a plain link.
        asked: the task, of very many steps, and what is sent for the first credit.
    """

    def __init__(self, target: str, asked: Asked) -> None:
        # a connection of its own: what is not read holds up nobody else's window
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        )
        self._channel = grpc.insecure_channel(target, options=options)
        self._requests: queue.SimpleQueue[pb.PlanRequest | None] = queue.SimpleQueue()
        self._seen = pb.PlanRequest(observation=codec.observation_to_proto(asked.view(), ImageConfig()))
        task = Task(asked.task, Generation(max_subgoals=LONG))
        self._requests.put(pb.PlanRequest(open=codec.task_to_open(task, (), (), str(uuid.uuid4()))))
        stub = planner_pb2_grpc.PlannerServiceStub(self._channel)
        self._call: Any = stub.Plan(iter(self._requests.get, None), wait_for_ready=True)

    def read(self) -> Iterator[str]:
        """Each response's kind, once it is taken from the stream. grpc.RpcError: the call has ended so."""
        sent = False
        for response in self._call:
            if response.HasField("credit") and not sent:
                sent = True
                self._requests.put(self._seen)
            yield response.WhichOneof("message") or ""

    def close(self) -> None:
        """Cancel the call and close the connection."""
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()

    def __enter__(self) -> "RawSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_slowly(target: str, readers: int, seconds: float, asked: Asked, pause_s: float = 0.5) -> int:
    """Readers that take one response in `pause_s` of long plans; how many they took together."""
    ended = time.monotonic() + seconds

    def work(taken: list[int]) -> None:
        with RawSession(target, asked) as session, contextlib.suppress(grpc.RpcError):
            for _ in session.read():
                taken.append(1)
                if time.monotonic() >= ended:
                    return
                time.sleep(pause_s)

    return sum(_in_threads(work, readers))


def hold_sessions(target: str, sessions: int, asked: Asked, words: Any) -> None:
    """Open sessions, say so when all of them plan, and never end: for a process that will be killed."""
    begun = threading.Semaphore(0)

    def work(_: list[int]) -> None:
        session = RawSession(target, asked)
        for kind in session.read():
            if kind == "plan_started":
                begun.release()

    for _ in range(sessions):
        threading.Thread(target=work, args=([],), daemon=True).start()
    for _ in range(sessions):
        begun.acquire()
    words.put("planning")
    threading.Event().wait()


def _in_threads(work: Callable[[list[int]], None], count: int) -> list[int]:
    taken: list[list[int]] = [[] for _ in range(count)]
    threads = [threading.Thread(target=work, args=(own,)) for own in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [len(own) for own in taken]
