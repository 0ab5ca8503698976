"""The service in a host that brings requests and takes responses: no socket, and no Ray."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.message import Message

from emu_planner.plan import ErrorCode
from emu_planner.service.access import hash_token
from emu_planner.service.config import ServiceConfig
from emu_planner.service.hosted import HostedCall, HostedService
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import CODE_KEY, RESUME, RETRY_AFTER_KEY
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, opening

SEEN = pb.PlanRequest(observation=codec.observation_to_proto(fake_observation(), PNG))
SLOW = FakePlanner(token_delay_s=0.01)


class LostError(Exception):
    """What a host raises when its caller has gone."""


class Robot:
    """A caller: what a host brings of it, and what it hears."""

    def __init__(self, first: pb.PlanRequest) -> None:
        self._first, self._asked, self._lost = first, asyncio.Event(), asyncio.Event()
        self.heard: list[pb.PlanResponse] = []

    async def requests(self) -> AsyncIterator[pb.PlanRequest]:
        """The opening, and a picture when it is asked for; a failure of the host when the robot is lost."""
        yield self._first
        await self._asked.wait()
        yield SEEN
        await self._lost.wait()
        raise LostError

    async def hear(self, call: HostedCall, until: str | None = None) -> None:
        """Responses up to the first of that kind, or to the call's end."""
        async for response in call:
            self.take(response)
            if until and isinstance(response, pb.PlanResponse) and response.WhichOneof("message") == until:
                return

    def take(self, response: Message) -> None:
        """Hear one response."""
        self.heard.append(response)
        if isinstance(response, pb.PlanResponse) and response.HasField("credit"):
            self._asked.set()

    def lose(self) -> None:
        """Go away."""
        self._lost.set()


def open_with(**changes) -> pb.PlanRequest:
    return pb.PlanRequest(open=opening(**changes))


def kinds(responses: list[pb.PlanResponse]) -> list[str | None]:
    return [response.WhichOneof("message") for response in responses]


async def whole(call: HostedCall) -> list[pb.PlanResponse]:
    return [response async for response in call]


def test_a_plan_and_its_end():
    async def go() -> tuple[Robot, HostedCall]:
        service, robot = HostedService(FakePlanner(), ServiceConfig()), Robot(open_with())
        call = service.plan(robot.requests(), ())
        await robot.hear(call, "plan_complete")
        return robot, call

    robot, call = asyncio.run(go())
    assert kinds(robot.heard)[0] == "opened"
    assert kinds(robot.heard).count("subgoal") == 3
    assert call.status is None


def test_a_host_that_loses_its_caller_keeps_a_session_that_can_be_resumed():
    async def go() -> tuple[list[pb.PlanResponse], str]:
        service = HostedService(SLOW, ServiceConfig())
        first = Robot(open_with(client_capabilities=[RESUME]))
        call = service.plan(first.requests(), ())
        responses = aiter(call)
        while not (first.heard and first.heard[-1].HasField("subgoal")):
            first.take(await anext(responses))
        first.lose()
        rest = [response async for response in responses]
        assert call.status is not None
        heard = first.heard + rest
        back = pb.OpenSession(session_id="a-session", resume=pb.ResumePoint(last_response_seq=heard[-1].seq))
        again = Robot(pb.PlanRequest(open=back))
        await again.hear(service.plan(again.requests(), ()), "plan_complete")
        assert again.heard[0].opened.resumed
        return heard + again.heard, call.status[1]

    heard, words = asyncio.run(go())
    assert "internal error" not in words
    numbers = [response.seq for response in heard if response.seq]
    assert numbers == list(range(1, len(numbers) + 1))
    assert kinds(heard).count("subgoal") == 3


def test_a_caller_that_reads_nothing_is_not_read_ahead_for():
    async def go() -> int:
        service, robot = HostedService(FakePlanner(), ServiceConfig()), Robot(open_with())
        call = service.plan(robot.requests(), ())
        responses = aiter(call)
        while not (robot.heard and robot.heard[-1].HasField("credit")):
            robot.take(await anext(responses))
        await asyncio.sleep(0.2)
        taken = call.waiting
        await responses.aclose()
        return taken

    assert asyncio.run(go()) == 1


def test_a_defect_ends_its_call_with_words():
    def admit(metadata) -> None:
        raise RuntimeError("a defect")

    async def handle(call: HostedCall) -> None:
        raise AssertionError("admit comes first")

    call = HostedCall(handle, (), admit)
    assert asyncio.run(asyncio.wait_for(whole(call), 30)) == []
    assert call.status is not None
    assert call.status[0] is grpc.StatusCode.INTERNAL
    assert "log" in call.status[1]


def test_what_cannot_be_is_a_status_with_what_a_client_of_ours_looks_for():
    async def go() -> tuple[HostedCall, HostedCall]:
        service = HostedService(FakePlanner(), ServiceConfig(max_sessions=1, retry_after_s=3.0))
        held = aiter(service.plan(Robot(open_with()).requests(), ()))
        await anext(held)
        full = service.plan(Robot(open_with(session_id="other")).requests(), ())
        assert await whole(full) == []
        wrong = service.plan(Robot(SEEN).requests(), ())
        assert await whole(wrong) == []
        await held.aclose()
        return full, wrong

    full, wrong = asyncio.run(go())
    assert full.status is not None
    assert full.status[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(full.status[2]) == {CODE_KEY: "resource_exhausted", RETRY_AFTER_KEY: "3000"}
    assert wrong.status is not None
    assert wrong.status[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ["plan", "generate", "server_info"])
def test_each_call_needs_a_token_where_one_is_asked_for(tmp_path, kind):
    file = tmp_path / "tokens"
    file.write_text(f"robot-1 {hash_token('right')} calls_per_minute=1\n")

    async def go(token: str) -> HostedCall:
        service = HostedService(FakePlanner(), ServiceConfig(tokens=file))
        metadata = (("authorization", f"Bearer {token}"),)
        robot, seen = Robot(open_with()), [SEEN.observation]
        call = {
            "plan": lambda: service.plan(robot.requests(), metadata),
            "generate": lambda: service.generate(
                pb.GeneratePlanRequest(session=opening(), observations=seen), metadata
            ),
            "server_info": lambda: service.server_info(metadata),
        }[kind]()
        await robot.hear(call, "plan_complete")
        assert bool(robot.heard) == (token == "right")
        return call

    assert asyncio.run(go("right")).status is None
    refused = asyncio.run(go("wrong"))
    assert refused.status is not None
    assert refused.status[0] is grpc.StatusCode.UNAUTHENTICATED
    assert dict(refused.status[2]) == {CODE_KEY: ErrorCode.UNAUTHENTICATED.value}
