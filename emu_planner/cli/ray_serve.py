"""Replicas of the plan service behind Ray Serve's gRPC proxy (docs/ray_serve.md). A composition root.

    serve run deploy/ray_serve.yaml

A call goes to the replica that a consistent hash of its session's id names, so a session that is resumed is
looked for where it is. Ray is optional: requirements/ray_serve.txt.
"""

import argparse
import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from emu_planner.plan import Planner
from emu_planner.service.config import ServiceConfig
from emu_planner.service.hosted import HostedCall, HostedService
from emu_planner.service.logs import log_to_stderr
from emu_planner.wire import planner_pb2 as pb

SERVICER = "emu_planner.wire.planner_pb2_grpc.add_PlannerServiceServicer_to_server"
DEPLOYMENT = "planner"
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"


class PlannerReplica:
    """One replica: a model, its sessions and its limits.

    Args:
        load: makes the planner.
        config: limits and tokens; its address means nothing here.
    """

    async def __init__(self, load: Callable[[], Planner], config: ServiceConfig) -> None:  # type: ignore[misc]
        # Serve sends calls here once this has returned
        self._service = HostedService(await asyncio.to_thread(load), config)

    async def Plan(self, requests: Any, grpc_context: Any) -> AsyncIterator[pb.PlanResponse]:  # noqa: N802
        """One planning session."""
        call = self._service.plan(requests, grpc_context.invocation_metadata())
        async for response in call:
            yield response
        if _tell_status(call, grpc_context):
            # Serve takes trailing metadata from a response only, so here is one that says nothing
            yield pb.PlanResponse()

    async def GeneratePlan(  # noqa: N802
        self, request: pb.GeneratePlanRequest, grpc_context: Any
    ) -> AsyncIterator[pb.GeneratePlanResponse]:
        """One plan from given observations."""
        call = self._service.generate(request, grpc_context.invocation_metadata())
        async for response in call:
            yield response
        if _tell_status(call, grpc_context):
            yield pb.GeneratePlanResponse()

    async def GetServerInfo(  # noqa: N802
        self,
        request: pb.GetServerInfoRequest,  # noqa: ARG002
        grpc_context: Any,
    ) -> pb.GetServerInfoResponse:
        """What this replica is."""
        call = self._service.server_info(grpc_context.invocation_metadata())
        responses = [response async for response in call]
        _tell_status(call, grpc_context)
        return responses[0] if responses else pb.GetServerInfoResponse()


def application(load: Callable[[], Planner], config: ServiceConfig, **options: Any) -> Any:
    """An application for serve.run.

    Args:
        load: makes a replica's planner, in the replica's process.
        config: of each replica.
        options: of the deployment, such as num_replicas.

    Raises:
        ValueError: Ray Serve is not installed.
    """
    try:
        serve = importlib.import_module("ray.serve")
    except ImportError as error:
        raise ValueError(
            f"this needs Ray Serve ({error}): pip install -r requirements/ray_serve.txt"
        ) from error
    # no replica but the one that the hash names: another would not know the session
    router = serve.config.RequestRouterConfig(
        request_router_class=_ROUTER, request_router_kwargs={"num_fallback_replicas": 0}
    )
    # the service counts sessions itself, and says in words what is full; with room for those that it refuses
    calls = 4 * config.max_sessions
    deployment = serve.deployment(name=DEPLOYMENT, max_ongoing_requests=calls, request_router_config=router)
    return deployment(PlannerReplica).options(**options).bind(load, config)


def build(args: dict[str, Any]) -> Any:
    """The application that deploy/ray_serve.yaml names; `args` are options of `emu-planner serve`.

    Raises:
        ValueError: an option is not known, or its value is wrong.
    """
    from emu_planner.cli.model import add_model_arguments, load_planner

    parser = argparse.ArgumentParser(prog="ray_serve", exit_on_error=False)
    add_model_arguments(parser)
    parser.add_argument("--max-sessions", type=int, default=ServiceConfig.max_sessions)
    parser.add_argument("--max-plans", type=int, default=ServiceConfig.max_running_plans)
    parser.add_argument("--resume-window", type=float, default=ServiceConfig.resume_window_s)
    parser.add_argument("--tokens", type=Path)
    words = [word for name, value in args.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    try:
        given, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(f"args of the application: {error}") from error
    if unknown:
        raise ValueError(f"args of the application: {' '.join(unknown)} is not known")
    config = ServiceConfig(
        max_sessions=given.max_sessions,
        max_running_plans=given.max_plans,
        resume_window_s=given.resume_window,
        tokens=given.tokens,
        model=Path(given.checkpoint).name,
    )

    def load() -> Planner:
        log_to_stderr(as_json=False)
        return load_planner(given, plans=given.max_plans)[0]

    return application(load, config)


def _tell_status(call: HostedCall, grpc_context: Any) -> bool:
    """Whether the call ended otherwise than in order; the proxy then ends it so."""
    if call.status is None:
        return False
    code, details, trailing = call.status
    grpc_context.set_code(code)
    grpc_context.set_details(details)
    grpc_context.set_trailing_metadata([*grpc_context.trailing_metadata(), *trailing])
    return True
