"""Odd messages to a real service: whatever comes, a status with a sentence goes back, and it stays well.

    python -m tools.fuzz_wire                       1,000 conversations, and as many pictures
    python -m tools.fuzz_wire --examples 20000 --seed 7

Conversations are Plan streams: well-formed messages in any order with odd values, raw bytes in the
place of messages, pictures that are truncated, false or huge, all with an end in order, by cancelling,
or none. Between them come bytes that are no HTTP/2, and an ordinary plan, which has to be as ever.

Prints how many were tried, how many survived, how many were lost, and the first of those; the exit
status is 1 when any was. tests/service/test_fuzz.py runs a few of them.
"""

import argparse
import contextlib
import logging
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from emu_planner.plan import ErrorCode, PlanError, Still, Task, collect
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.images import Encoding, decode_image
from emu_planner.wire.status import CODE_KEY, SERVICE_NAME
from tests.fakes import FakePlanner, fake_observation
from tools import odd_messages

# how long the service may take to answer anything, far above its own limits
PATIENCE_S = 20.0
# between two messages, unless something comes back before
PAUSE_S = 0.01
# every limit so short that a run meets them all
CONFIG = ServiceConfig(
    address="127.0.0.1:0",
    max_sessions=8,
    max_running_plans=2,
    max_pixels=100_000,
    max_message_bytes=1_000_000,
    max_history=5,
    open_timeout_s=0.3,
    observation_timeout_s=0.2,
    idle_timeout_s=0.2,
    resume_window_s=0.2,
    resume_bytes=50_000,
    stop_grace_s=0.2,
    drain_timeout_s=0.0,
)
# what a peer may hear; INTERNAL and UNKNOWN are defects
TYPED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
}
INSIDE = ("Traceback", 'File "', ".py", "object at 0x", "Exception")


@dataclass
class Tally:
    """What came of it all."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def count(self, outcome: str, fault: str, what: object) -> None:
        """One more; a fault that is not empty is a loss."""
        self.tried += 1
        self.outcomes[outcome] += 1
        if fault:
            self.lost.append(f"{fault}: {what!r}")

    def line(self, name: str) -> str:
        """For a person."""
        outcomes = ", ".join(f"{key} {count}" for key, count in self.outcomes.most_common())
        survived = self.tried - len(self.lost)
        return f"{name}: tried {self.tried}, survived {survived}, lost {len(self.lost)} ({outcomes})"


def hold(channel: grpc.Channel, talk: odd_messages.Talk) -> tuple[str, str]:
    """Have the conversation; its outcome in a word, and what was wrong with it, if anything."""
    heard, over = threading.Semaphore(0), threading.Event()

    def requests() -> Iterator[bytes]:
        for number, message in enumerate(talk.messages):
            if number:
                # a little behind what comes back, or the first odd message would hide all others
                heard.acquire(timeout=PAUSE_S)
            yield message
        if talk.ending != "half-close":
            over.wait()

    method = channel.stream_stream(f"/{SERVICE_NAME}/Plan", None, pb.PlanResponse.FromString)
    call = method(requests(), timeout=PATIENCE_S)
    depth = ""
    try:
        for place, response in enumerate(call, start=1):
            heard.release()
            if response.HasField("plan_started"):
                depth = " after a plan began"
            if talk.ending == "cancel" and place >= len(talk.messages):
                call.cancel()
    except grpc.RpcError as error:
        return f"{error.code().name}{depth}", _fault_of(error, cancelled=talk.ending == "cancel")
    finally:
        over.set()
    return f"OK{depth}", ""


def generate(channel: grpc.Channel, data: bytes) -> tuple[str, str]:
    """The other call, with those bytes for its request."""
    method = channel.unary_stream(f"/{SERVICE_NAME}/GeneratePlan", None, pb.GeneratePlanResponse.FromString)
    try:
        for _ in method(data, timeout=PATIENCE_S):
            pass
    except grpc.RpcError as error:
        return error.code().name, _fault_of(error)
    return "OK", ""


def shout(target: str, data: bytes) -> None:
    """Bytes that are no HTTP/2, on a connection of their own."""
    host, _, port = target.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), PATIENCE_S) as line:
        line.sendall(data)


def decode(data: bytes, encoding: Encoding, width: int, height: int) -> tuple[str, str]:
    """One picture through the service's decoder: its outcome in a word, and what was wrong with it."""
    try:
        rgb = decode_image(data, encoding, width, height, CONFIG.max_pixels)
    except PlanError as error:
        return "refused", "" if error.code is ErrorCode.INVALID_REQUEST and _is_sentence(
            error.message
        ) else str(error)
    except Exception as error:
        return "raised", repr(error)
    return "decoded", "" if rgb.shape == (height, width, 3) else f"has the shape {rgb.shape}"


def is_well(channel: grpc.Channel, target: str) -> str:
    """What is wrong with the service; empty: it serves, makes an ordinary plan, and has no session left."""
    request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE_S).status
    if status != health_pb2.HealthCheckResponse.SERVING:
        return f"its health is {status}"
    with RemotePlanner(target, ClientConfig(start_timeout_s=PATIENCE_S)) as planner:
        deadline_s = time.monotonic() + PATIENCE_S
        while planner.server_info().active_sessions and time.monotonic() < deadline_s:
            time.sleep(0.02)
        if left := planner.server_info().active_sessions:
            return f"{left} sessions are left over"
        report = collect("stack", planner.plan(Task("stack"), Still(fake_observation())))
    return (
        ""
        if report.reason == "stop"
        else f"an ordinary plan ends with {report.reason} {report.error_message}"
    )


def run(target: str, examples: int, number: int) -> Iterator[tuple[str, Tally]]:
    """Everything, against the service at `target`; the names of its parts with what came of them."""
    with grpc.insecure_channel(target) as channel:
        talked, asked, decoded, shouted, well = (Tally() for _ in range(5))

        def one_talk(talk: odd_messages.Talk) -> None:
            talked.count(*hold(channel, talk), talk)
            if talked.tried % 100 == 0:
                well.count("checked", is_well(channel, target), talked.tried)

        many = examples // 4 + 1
        _run(one_talk, odd_messages.talks(), examples, number)
        _run(lambda data: asked.count(*generate(channel, data), data), odd_messages.requests(), many, number)
        _run(lambda one: decoded.count(*decode(*one), one), odd_messages.pictures(), examples, number)
        _run(lambda data: _shouted(shouted, target, data), odd_messages.noise(), many, number)
        well.count("checked", is_well(channel, target), "the end")
    yield from (
        ("conversations", talked),
        ("GeneratePlan", asked),
        ("pictures", decoded),
        ("no HTTP/2", shouted),
        ("service well", well),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit status whether anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000, help="conversations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the examples (default: %(default)s)")
    args = parser.parse_args(argv)
    # what the service writes about each odd message is not of interest here
    logging.disable(logging.WARNING)
    lost = 0
    with running_service(lambda: FakePlanner(steps=2), CONFIG) as target:
        for name, tally in run(target, args.examples, args.seed):
            print(tally.line(name), flush=True)
            lost += len(tally.lost)
            for words in tally.lost[:3]:
                print(f"  {words[:2000]}")
    return 1 if lost else 0


def _run(test: Callable[[Any], None], strategy: st.SearchStrategy[Any], examples: int, number: int) -> None:
    """Call `test` with so many examples. It counts what is wrong, so that one loss does not end the run."""
    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(chosen(given(strategy)(test)))()


def _shouted(tally: Tally, target: str, data: bytes) -> None:
    shout(target, data)
    tally.count("sent", "", data)


def _fault_of(error: Any, *, cancelled: bool = False) -> str:
    status, details = error.code(), error.details() or ""
    if cancelled and status is grpc.StatusCode.CANCELLED:
        return ""
    if status not in TYPED:
        return f"{status.name} {details}"
    if status is grpc.StatusCode.DEADLINE_EXCEEDED and CODE_KEY not in dict(error.trailing_metadata() or ()):
        return f"nothing came within {PATIENCE_S:g} s"
    return "" if _is_sentence(details) else f"{status.name} without a sentence, or with too much: {details}"


def _is_sentence(words: str) -> bool:
    return len(words.split()) >= 3 and not any(word in words for word in INSIDE)


if __name__ == "__main__":
    sys.exit(main())
