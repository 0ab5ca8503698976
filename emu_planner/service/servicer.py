"""The gRPC face of the service: calls in, sessions out, failures as status codes with words.

Knows no planner beyond what session.py runs, and no socket.
"""

import asyncio
import contextlib
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError, Message

from emu_planner.plan import ErrorCode, PlanError, StepOutcome, Task
from emu_planner.service.lasting import LastingSession, Seat, UnwrittenError, find, longest_left
from emu_planner.service.session import Send, Session, checked_history, checked_id
from emu_planner.service.state import ServiceState, draining_error
from emu_planner.wire import codec, planner_pb2_grpc
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import RESUME, StatusError, status_of, trailing_metadata

logger = logging.getLogger(__name__)

RETRY_LATER = (ErrorCode.RESOURCE_EXHAUSTED, ErrorCode.MODEL_NOT_READY)


@dataclass(frozen=True)
class _Parts:
    """What a session is opened with, checked."""

    task: Task
    cameras: tuple[str, ...]
    history: Sequence[StepOutcome]


class PlannerServicer(planner_pb2_grpc.PlannerServiceServicer):
    """emu.planner.v1.PlannerService for one ServiceState."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    async def Plan(  # noqa: N802 - the wire's name
        self, requests: AsyncIterator[pb.PlanRequest], context: grpc.aio.ServicerContext
    ) -> None:
        """One planning session."""
        writer = _Writer(context, self._state.config.write_timeout_s)
        async with self._failing_with_status(context):
            opening = await self._first(requests)
            if self._state.draining:
                raise draining_error()
            seat = self._seat_of(opening, context)
            if opening.HasField("resume"):
                session, resumed = self._returned(seat), True
            else:
                session, resumed = await self._entered(opening, seat, context)
            after = opening.resume.last_response_seq
            await session.converse(requests, writer.send, after=after, resumed=resumed)

    async def GeneratePlan(  # noqa: N802
        self, request: pb.GeneratePlanRequest, context: grpc.aio.ServicerContext
    ) -> None:
        """One plan from given observations: the newest of them."""
        writer = _Writer(context, self._state.config.write_timeout_s)

        async def send(response: pb.PlanResponse) -> None:
            await writer.send(pb.GeneratePlanResponse(event=response))

        async with self._failing_with_status(context):
            if not request.observations:
                raise PlanError(ErrorCode.INVALID_REQUEST, "the request holds no observation")
            observation = max(request.observations, key=lambda one: one.seq)
            if self._state.draining:
                raise draining_error()
            opening = request.session
            parts = await self._checked(opening)
            session = LastingSession(self._state, self._seat_of(opening, context), b"", lasts=False)
            self._begin(session, parts, send, context)
            await session.generate(observation)

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

    async def _entered(
        self, opening: pb.OpenSession, seat: Seat, context: grpc.aio.ServicerContext
    ) -> tuple[LastingSession, bool]:
        """The session that `open` asks for, and whether it was there: the same request came twice."""
        parts = await self._checked(opening)
        lasts = RESUME in opening.client_capabilities
        same = hashlib.sha256(opening.SerializeToString(deterministic=True)).digest()
        if lasts and (found := find(self._state, seat)) is not None:
            if found.opening == same:
                return found, True
            raise StatusError(
                grpc.StatusCode.ALREADY_EXISTS,
                ErrorCode.INVALID_REQUEST,
                f"session {seat.session_id} was opened with another request; take an id of its own for this",
            )
        session = LastingSession(self._state, seat, same, lasts=lasts)
        self._begin(session, parts, session.outbox.put, context)
        return session, False

    def _returned(self, seat: Seat) -> LastingSession:
        """The session that a client comes back to."""
        found = find(self._state, seat)
        if found is None:
            raise StatusError(
                grpc.StatusCode.NOT_FOUND,
                ErrorCode.INVALID_REQUEST,
                f"session {seat.session_id} is not here: it has ended, nobody came back for it in time, "
                "or the service was started again; open a new one",
            )
        return found

    async def _checked(self, opening: pb.OpenSession) -> _Parts:
        config = self._state.config
        if opening.model not in ("", config.model):
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"model {opening.model!r} is not served here; this is {config.model!r}",
            )
        task, cameras = codec.task_from_open(opening)
        names = tuple(camera.name for camera in cameras)
        return _Parts(task, names, await checked_history(opening.history, config))

    def _begin(
        self, session: LastingSession, parts: _Parts, send: Send, context: grpc.aio.ServicerContext
    ) -> None:
        """Give it a place among the sessions. PlanError RESOURCE_EXHAUSTED: there is none."""
        state, seat = self._state, session.seat
        while (full := self._full(seat)) is not None:
            # a session of the same client whose link is broken makes room for one that has a link
            left = longest_left(state, seat.owner)
            if left is None:
                raise full
            left.drop("it made room for another of its client")
        trace = None
        if state.tracing is not None:
            trace = state.tracing.serve(seat.session_id, context.invocation_metadata() or ())
        task, cameras, history = parts.task, parts.cameras, parts.history
        work = Session(state, task, cameras, history, seat.session_id, send, seat.client, trace)
        session.begin(work, trace)

    def _full(self, seat: Seat) -> PlanError | None:
        state, most = self._state, self._state.config.max_sessions
        own = state.access.sessions_of(seat.client) if state.access else 0
        taken = sum(session.client == seat.client for session in state.sessions)
        if own and taken >= own:
            words = f"{seat.client} has all of its {own} sessions open; end one first"
        elif len(state.sessions) >= most:
            words = f"all {most} sessions of this service are taken; try again later"
        else:
            return None
        return PlanError(ErrorCode.RESOURCE_EXHAUSTED, words, retryable=True)

    def _seat_of(self, opening: pb.OpenSession, context: grpc.aio.ServicerContext) -> Seat:
        session_id = checked_id(opening.session_id)
        if self._state.access is not None:
            name = self._state.access.identify(context.invocation_metadata() or ()).name
            return Seat(session_id, name, f"token {name}")
        certificates = context.auth_context().get("x509_pem_cert", ())
        digest = hashlib.sha256(b"".join(certificates)).hexdigest() if certificates else ""
        return Seat(session_id, "", digest)

    @contextlib.asynccontextmanager
    async def _failing_with_status(self, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        try:
            yield
        except DecodeError:
            error = PlanError(ErrorCode.INVALID_REQUEST, "the bytes are no message of emu.planner.v1")
            await self._abort(context, error)
        except PlanError as error:
            await self._abort(context, error)
        except (_UntakenError, UnwrittenError) as error:
            untaken = error if isinstance(error, _UntakenError) else error.__cause__
            if isinstance(untaken, _UntakenError):
                logger.info("a call ended: %s", untaken)
                # no code of ours: a broken link, after which a client that can resume does
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(untaken))
            # as a rule the link broke; if it was the response, this is what its reader hears
            logger.info("a response could not be written: %r", error.__cause__)
            await self._abort(context, PlanError(ErrorCode.INTERNAL, "a response could not be sent"))
        except Exception:
            error_id = uuid.uuid4().hex[:12]
            logger.exception("internal error %s", error_id)
            words = f"internal error {error_id}; the service's log says more under this number"
            await self._abort(context, PlanError(ErrorCode.INTERNAL, words), error_id)

    async def _abort(self, context: grpc.aio.ServicerContext, error: PlanError, error_id: str = "") -> None:
        retry_after_s = self._state.config.retry_after_s if error.code in RETRY_LATER else None
        await context.abort(
            status_of(error),
            error.message,
            trailing_metadata(error, error_id=error_id, retry_after_s=retry_after_s),
        )


class _UntakenError(Exception):
    """The reader of a call takes nothing: for the service its link is broken."""


class _Writer:
    """One write at a time: a session's reader and its worker both answer.

    A write goes on when whoever asked for it is cancelled: gRPC would still be busy with it, and
    would refuse the next one.
    """

    def __init__(self, context: grpc.aio.ServicerContext, timeout_s: float) -> None:
        self._context, self._timeout_s = context, timeout_s
        self._lock = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()

    async def send(self, response: Message) -> None:
        """Write one response. _UntakenError: its reader takes nothing."""
        write = asyncio.create_task(self._write(response))
        self._writes.add(write)
        write.add_done_callback(self._done)
        done, _ = await asyncio.wait({write}, timeout=self._timeout_s)
        if not done:
            raise _UntakenError(f"its client took no response for {self._timeout_s:g} s")
        write.result()

    async def _write(self, response: Message) -> None:
        async with self._lock:
            await self._context.write(response)

    def _done(self, write: "asyncio.Task[None]") -> None:
        self._writes.discard(write)
        if not write.cancelled():
            # looked at, so that asyncio does not report it when nobody waits for it any more
            write.exception()
