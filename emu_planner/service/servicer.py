"""The gRPC face of the service: calls in, sessions out, failures as status codes with words.

Knows no planner beyond what session.py runs, and no socket.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Iterator

import grpc
from google.protobuf.message import DecodeError, Message

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.service.session import (
    Send,
    ServiceState,
    Session,
    checked_history,
    checked_id,
    draining_error,
)
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import STATUS_OF_CODE, trailing_metadata

logger = logging.getLogger(__name__)

RETRY_LATER = (ErrorCode.RESOURCE_EXHAUSTED, ErrorCode.MODEL_NOT_READY)


class PlannerServicer(planner_pb2_grpc.PlannerServiceServicer):
    """emu.planner.v1.PlannerService for one ServiceState."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    async def Plan(  # noqa: N802 - the wire's name
        self, requests: AsyncIterator[pb.PlanRequest], context: grpc.aio.ServicerContext
    ) -> None:
        """One planning session."""
        writer = _Writer(context)
        async with self._failing_with_status(context):
            opening = await self._first(requests)
            with await self._open(opening, writer.send, context) as session:
                await session.converse(requests)

    async def GeneratePlan(  # noqa: N802
        self, request: pb.GeneratePlanRequest, context: grpc.aio.ServicerContext
    ) -> None:
        """One plan from given observations: the newest of them."""
        writer = _Writer(context)

        async def send(response: pb.PlanResponse) -> None:
            await writer.send(pb.GeneratePlanResponse(event=response))

        async with self._failing_with_status(context):
            if not request.observations:
                raise PlanError(ErrorCode.INVALID_REQUEST, "the request holds no observation")
            observation = max(request.observations, key=lambda one: one.seq)
            with await self._open(request.session, send, context) as session:
                await session.plan_once(observation)

    async def GetServerInfo(  # noqa: N802
        self,
        request: pb.GetServerInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> pb.GetServerInfoResponse:
        """What this service is, and whether it is ready."""
        return pb.GetServerInfoResponse(server=self._state.info())

    async def _first(self, requests: AsyncIterator[pb.PlanRequest]) -> pb.OpenSession:
        timeout_s = self._state.config.open_timeout_s
        try:
            request = await asyncio.wait_for(requests.__anext__(), timeout_s)
        except asyncio.TimeoutError:
            raise PlanError(ErrorCode.TIMEOUT, f"no `open` within {timeout_s:g} s") from None
        except StopAsyncIteration:
            raise PlanError(ErrorCode.INVALID_REQUEST, "the call ended without `open`") from None
        if request.WhichOneof("message") != "open":
            kind = request.WhichOneof("message") or "empty"
            raise PlanError(ErrorCode.INVALID_REQUEST, f"the first message is {kind}; it has to be `open`")
        return request.open

    async def _open(
        self, opening: pb.OpenSession, send: Send, context: grpc.aio.ServicerContext
    ) -> contextlib.AbstractContextManager[Session]:
        state, config = self._state, self._state.config
        if state.draining:
            raise draining_error()
        session_id = checked_id(opening.session_id)
        if opening.model not in ("", config.model):
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"model {opening.model!r} is not served here; this is {config.model!r}",
            )
        task, cameras = codec.task_from_open(opening)
        history = await checked_history(opening.history, config)
        # nothing is awaited from here until the session has its seat
        client = self._seat_for(context)
        if len(state.sessions) >= config.max_sessions:
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"all {config.max_sessions} sessions of this service are taken; try again later",
                retryable=True,
            )
        names = tuple(camera.name for camera in cameras)
        return _seated(state, Session(state, task, names, history, session_id, send, client))

    def _seat_for(self, context: grpc.aio.ServicerContext) -> str:
        """Name of the token's holder. PlanError RESOURCE_EXHAUSTED: they have all their sessions."""
        if self._state.access is None:
            return ""
        client = self._state.access.identify(context.invocation_metadata() or ())
        taken = sum(session.client == client.name for session in self._state.sessions)
        if client.sessions and taken >= client.sessions:
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"{client.name} has all of its {client.sessions} sessions open; end one first",
                retryable=True,
            )
        return client.name

    @contextlib.asynccontextmanager
    async def _failing_with_status(self, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        try:
            yield
        except DecodeError:
            error = PlanError(ErrorCode.INVALID_REQUEST, "the bytes are no message of emu.planner.v1")
            await self._abort(context, error)
        except PlanError as error:
            await self._abort(context, error)
        except Exception:
            error_id = uuid.uuid4().hex[:12]
            logger.exception("internal error %s", error_id)
            words = f"internal error {error_id}; the service's log says more under this number"
            await self._abort(context, PlanError(ErrorCode.INTERNAL, words), error_id)

    async def _abort(self, context: grpc.aio.ServicerContext, error: PlanError, error_id: str = "") -> None:
        retry_after_s = self._state.config.retry_after_s if error.code in RETRY_LATER else None
        await context.abort(
            STATUS_OF_CODE[error.code],
            error.message,
            trailing_metadata(error, error_id=error_id, retry_after_s=retry_after_s),
        )


class _Writer:
    """One write at a time: a session's reader and its worker both answer.

    A write goes on when whoever asked for it is cancelled: gRPC would still be busy with it, and
    would refuse the next one.
    """

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()

    async def send(self, response: Message) -> None:
        """Write one response."""
        write = asyncio.create_task(self._write(response))
        self._writes.add(write)
        write.add_done_callback(self._done)
        await asyncio.shield(write)

    async def _write(self, response: Message) -> None:
        async with self._lock:
            await self._context.write(response)

    def _done(self, write: "asyncio.Task[None]") -> None:
        self._writes.discard(write)
        if not write.cancelled():
            # looked at, so that asyncio does not report it when nobody waits for it any more
            write.exception()


@contextlib.contextmanager
def _seated(state: ServiceState, session: Session) -> Iterator[Session]:
    state.sessions.add(session)
    try:
        yield session
    finally:
        state.sessions.discard(session)
