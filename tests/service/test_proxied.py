"""A gRPC proxy between client and service: what it says in its own name is no word of the service."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from emu_planner.plan import ErrorCode, PlanComplete, PlanError, StepComplete, Still, collect
from emu_planner.service.server import running_service
from emu_planner.wire import planner_pb2_grpc
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.status import SESSION_KEY
from tests.fakes import FakePlanner, fake_observation
from tests.service.calls import PNG, TASK


class Proxy(planner_pb2_grpc.PlannerServiceServicer):
    """Passes on, but says INTERNAL after the first whole step of the first `failures` calls."""

    def __init__(self, channel: grpc.Channel, failures: int) -> None:
        self._stub = planner_pb2_grpc.PlannerServiceStub(channel)
        self._failures = failures
        self.sessions: list[str] = []

    def GetServerInfo(self, request, context):
        if self._failures < 0:
            context.abort(grpc.StatusCode.INTERNAL, "The actor died unexpectedly")
        return self._stub.GetServerInfo(request)

    def Plan(self, requests, context):
        self.sessions.append(dict(context.invocation_metadata())[SESSION_KEY])
        call = self._stub.Plan(requests)
        for response in call:
            yield response
            if self._failures and response.HasField("subgoal"):
                self._failures -= 1
                call.cancel()
                context.abort(grpc.StatusCode.INTERNAL, "The actor died unexpectedly")


@contextlib.contextmanager
def proxied(target: str, failures: int) -> Iterator[tuple[Proxy, str]]:
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(4) as pool:
        server, proxy = grpc.server(pool), Proxy(channel, failures)
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(proxy, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield proxy, f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_a_plan_goes_on_where_its_proxy_lost_it_and_each_call_names_its_session():
    config = ClientConfig(images=PNG, resume_patience_s=20.0)
    with (
        running_service(FakePlanner) as target,
        proxied(target, 2) as (proxy, address),
        RemotePlanner(address, config) as remote,
    ):
        events = list(remote.plan(TASK, Still(fake_observation())))
    assert collect("", iter(events)) == collect("", FakePlanner().plan(TASK, Still(fake_observation())))
    assert sum(isinstance(event, StepComplete) for event in events) == 3
    assert isinstance(events[-1], PlanComplete)
    assert len(proxy.sessions) == 3
    assert len(set(proxy.sessions)) == 1


def test_a_proxy_that_reaches_nobody_is_an_unavailable_service():
    with (
        running_service(FakePlanner) as target,
        proxied(target, -1) as (_, address),
        RemotePlanner(address, ClientConfig(connect_timeout_s=0.2)) as remote,
        pytest.raises(PlanError) as raised,
    ):
        remote.server_info()
    assert raised.value.code is ErrorCode.SERVER_UNAVAILABLE
    assert raised.value.retryable
