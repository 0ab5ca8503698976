"""The service's calls inside a host that has a gRPC server of its own, such as Ray Serve's proxy.

What such a host gives a call (its requests and metadata) goes in; responses come out, and at the end how the
call ended. Limits, sessions and tokens are the service's own. Knows no host.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
from google.protobuf.message import Message

from emu_planner.plan import ErrorCode, PlanError, Planner
from emu_planner.service.access import Access
from emu_planner.service.config import ServiceConfig
from emu_planner.service.lasting import UnwrittenError
from emu_planner.service.servicer import PlannerServicer
from emu_planner.service.slots import RunSlots
from emu_planner.service.state import ServiceState
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import status_of, trailing_metadata

logger = logging.getLogger(__name__)

Pairs = tuple[tuple[str, str], ...]
Metadata = Iterable[tuple[str, str]]


class HostedService:
    """A planner's service in the running event loop, without a socket.

    Args:
        planner: what plans; it is loaded already.
        config: limits and tokens. Address and certificate are the host's.

    Raises:
        CredentialsError: the file of tokens cannot be used.
    """

    def __init__(self, planner: Planner, config: ServiceConfig) -> None:
        self._state = ServiceState(config, RunSlots(config.max_running_plans), planner=planner)
        self._state.access = Access(config.tokens) if config.tokens else None
        self._state.ready.set()
        self._servicer = PlannerServicer(self._state)

    def plan(
        self, requests: AsyncIterable[pb.PlanRequest], metadata: Iterable[tuple[str, str]]
    ) -> "HostedCall":
        """One planning session, as the wire's Plan."""
        return HostedCall(
            lambda call: self._servicer.Plan(_over_the_host(requests), call), metadata, self._counted
        )

    def generate(self, request: pb.GeneratePlanRequest, metadata: Iterable[tuple[str, str]]) -> "HostedCall":
        """One plan from given observations, as the wire's GeneratePlan."""
        return HostedCall(lambda call: self._servicer.GeneratePlan(request, call), metadata, self._counted)

    def server_info(self, metadata: Metadata) -> "HostedCall":
        """What this service is, as the wire's GetServerInfo; the call has one response."""

        async def answer(call: "HostedCall") -> None:
            await call.write(pb.GetServerInfoResponse(server=self._state.info()))

        return HostedCall(answer, metadata, self._known)

    def _counted(self, metadata: Pairs) -> None:
        if self._state.access is not None:
            self._state.access.admit(metadata)

    def _known(self, metadata: Pairs) -> None:
        if self._state.access is not None:
            self._state.access.identify(metadata)


class HostedCall:
    """One call: iterate it for its responses, then look at `status`. To the servicer it is a context.

    Args:
        handle: answers the call, which it is given.
        metadata: what the client sent along.
        admit: looks at the metadata first. PlanError: the call may not be made.
    """

    def __init__(
        self,
        handle: Callable[["HostedCall"], Awaitable[None]],
        metadata: Metadata,
        admit: Callable[[Pairs], None],
    ) -> None:
        self._handle, self._metadata, self._admit = handle, tuple(metadata), admit
        # one place: who reads slowly makes the session wait, as a socket would
        self._responses: asyncio.Queue[Message | None] = asyncio.Queue(1)
        # how the call ended otherwise than in order
        self.status: tuple[grpc.StatusCode, str, Pairs] | None = None

    @property
    def waiting(self) -> int:
        """Responses that the host has not taken yet."""
        return self._responses.qsize()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The responses. Closing the iterator drops the call, as a broken link does."""
        work = asyncio.create_task(self._work())
        try:
            while (response := await self._responses.get()) is not None:
                yield response
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def write(self, response: Message) -> None:
        """Hand one response to the host."""
        await self._responses.put(response)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Pairs = ()) -> None:
        """End the call so."""
        self.status = (code, details, tuple(trailing))
        raise _AbortedError

    def invocation_metadata(self) -> Pairs:
        """What the client sent along."""
        return self._metadata

    def auth_context(self) -> dict[str, Any]:
        """Certificates are the host's: none is seen here."""
        return {}

    async def _work(self) -> None:
        try:
            self._admit(self._metadata)
            await self._handle(self)
        except _AbortedError:
            pass
        except PlanError as error:
            self._fail(error)
        except Exception:
            # a defect: without this nobody would end the call, and its host wait for ever
            logger.exception("internal error in a call")
            self._fail(PlanError(ErrorCode.INTERNAL, "internal error; the service's log says more"))
        await self._responses.put(None)

    def _fail(self, error: PlanError) -> None:
        self.status = (status_of(error), error.message, trailing_metadata(error))


async def _over_the_host(requests: AsyncIterable[pb.PlanRequest]) -> AsyncIterator[pb.PlanRequest]:
    """The requests; a host that fails to bring them is a link that broke, and no defect of ours."""
    try:
        async for request in requests:
            yield request
    except Exception as error:
        raise UnwrittenError from error


class _AbortedError(Exception):
    """The call has its status."""
