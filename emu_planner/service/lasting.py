"""A session that outlives its call: the link may break, and a later call goes on where it broke.

A client that does not know resume gets one call, as ever. Knows no gRPC context: it reads from an
iterator, writes through a function, and fails with PlanError. Lives in the event loop's thread alone.
"""

import asyncio
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Any

import grpc

from emu_planner.plan import ErrorCode
from emu_planner.service.outbox import Outbox, Write
from emu_planner.service.session import Session, cancel
from emu_planner.service.state import ServiceState
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import StatusError
from emu_planner.wire.tracing import SessionTrace


class UnwrittenError(Exception):
    """The call takes no more: its link is broken."""


@dataclass(frozen=True)
class Seat:
    """Who has a session: whoever opened it, by whatever the service knows them."""

    session_id: str
    # name of the token's holder; empty where no token is asked for
    client: str = ""
    # what only the opener can show: their token's name, or their certificate's hash
    owner: str = ""


class LastingSession:
    """One session and the calls that it is served through, one after another.

    Args:
        state: what all sessions share.
        seat: whose it is.
        opening: a hash of the request that opened it.
        lasts: whether its client can resume.
    """

    def __init__(self, state: ServiceState, seat: Seat, opening: bytes, *, lasts: bool) -> None:
        config = state.config
        self.seat, self.opening = seat, opening
        self.client = seat.client
        self._state = state
        self._window_s = config.resume_window_s if lasts else 0.0
        limit = config.resume_bytes if self._window_s else 0
        self.outbox = Outbox(limit, self._overflow)
        self._session: Session | None = None
        self._trace: SessionTrace | None = None
        self._worker: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None  # what ended the work
        self._displaced: asyncio.Event | None = None  # of the call that is served now
        # since when no call serves it, on the loop's clock; None: one does
        self.left_s: float | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def lasts(self) -> bool:
        """Whether it outlives a broken link."""
        return self._window_s > 0

    def begin(self, session: Session, trace: SessionTrace | None = None) -> None:
        """Take a seat among the service's sessions; `trace` ends with it."""
        self._session, self._trace = session, trace
        self._state.sessions.add(self)
        if self.lasts:
            self._state.lasting[self.seat.session_id] = self

    def wake(self) -> None:
        """The service drains: nobody can come back."""
        assert self._session is not None, "begin comes first"
        self._session.wake()
        if self.left_s is not None:
            self.drop("the service drains")

    def halt(self) -> None:
        """Ask the present plan to stop."""
        assert self._session is not None, "begin comes first"
        self._session.halt()

    async def converse(
        self, requests: AsyncIterable[pb.PlanRequest], write: Write, *, after: int, resumed: bool
    ) -> None:
        """Serve one call to its end.

        Args:
            requests: what comes after `open`.
            write: writes one response.
            after: number of the newest response that has arrived; 0: none.
            resumed: whether the session was there before this call.

        Raises:
            PlanError: the call has to end with that.
        """
        session, write = self._session, _marking(write)
        assert session is not None, "begin comes first"
        self.outbox.check(after)
        if self._displaced is not None:
            self._displaced.set()
        displaced = self._displaced = asyncio.Event()
        self._stop_clock()
        self.left_s = None
        self.outbox.attach(after)
        if resumed:
            session.log.info("resumed after response %d", after)
            self._note("resumed")
        over = False
        try:
            await write(pb.PlanResponse(opened=self._opened(session, resumed=resumed)))
            if self._worker is None:
                self._worker = asyncio.create_task(session.work())
                self._worker.add_done_callback(self._worked)
            over = await self._serve(session, requests, write, displaced)
        except Exception as error:
            # whoever breaks the rules, or meets a defect, does not come back
            over = not isinstance(error, UnwrittenError)
            raise
        finally:
            if self._displaced is displaced:
                await self._leave(session, over=over)

    async def generate(self, observation: pb.Observation) -> None:
        """Make the one plan of a call whose observation is given at the start."""
        assert self._session is not None, "begin comes first"
        try:
            await self._session.plan_once(observation)
        except Exception as error:
            self._failure = error
            raise
        finally:
            await self.end()

    async def end(self) -> None:
        """Stop the plan, give the seat back, and wait until that is done."""
        self.drop()
        if self._worker is not None:
            await cancel(self._worker)

    def drop(self, why: str = "") -> None:
        """Give the seat back at once, and tell the plan to stop."""
        if self._over:
            return
        self._over = True
        if why and self._session is not None:
            self._session.log.info("ended: %s", why)
        self._stop_clock()
        if self._trace is not None:
            self._trace.end(self._failure)
        self._state.sessions.discard(self)
        if self._state.lasting.get(self.seat.session_id) is self:
            del self._state.lasting[self.seat.session_id]
        self.outbox.detach()
        self.outbox.end()
        if self._displaced is not None:
            self._displaced.set()
        if self._worker is not None:
            self._worker.cancel()
        if self._session is not None:
            self._session.release()

    async def _serve(
        self,
        session: Session,
        requests: AsyncIterable[pb.PlanRequest],
        write: Write,
        displaced: asyncio.Event,
    ) -> bool:
        """Whether the session is over now; False: its client may come back."""
        pump = asyncio.create_task(self.outbox.pump(write))
        reader = asyncio.create_task(self._read(session, requests))
        gone = asyncio.create_task(displaced.wait())
        tasks: list[asyncio.Task[Any]] = [pump, reader, gone]
        resting: asyncio.Task[None] | None = None
        waiting: set[asyncio.Task[Any]] = set(tasks)
        try:
            await session.grant_again()
            while True:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if displaced.is_set():
                    raise self._taken_over()
                if pump.done():
                    pump.result()
                    assert self._worker is not None, "the pump ends after it"
                    self._worker.result()
                    return True
                if resting is not None and resting.done():
                    return False
                if reader in waiting and reader.done():
                    if reader.result():
                        return True
                    waiting.discard(reader)
                    if not self.lasts:
                        session.half_close()
                        continue
                    # the client's wish, or the first sign of a broken link: the work goes on
                    resting = asyncio.create_task(self._rest(session))
                    tasks.append(resting)
                    waiting.add(resting)
        finally:
            await cancel(*tasks)

    async def _read(self, session: Session, requests: AsyncIterable[pb.PlanRequest]) -> bool:
        """Whether the client says that the session is over; False: only its requests are."""
        async for request in requests:
            match request.WhichOneof("message"):
                case "received":
                    self.outbox.received(request.received.seq)
                case "close":
                    return True
                case _:
                    await session.handle(request)
        return False

    def _worked(self, worker: "asyncio.Task[None]") -> None:
        self.outbox.end()
        if not worker.cancelled():
            # looked at, so that asyncio does not report it when no call comes to tell it
            self._failure = worker.exception()

    async def _rest(self, session: Session) -> None:
        await session.rested()
        await self.outbox.flushed()

    async def _leave(self, session: Session, *, over: bool) -> None:
        self._displaced = None
        self.outbox.detach()
        if over or not self.lasts or self._state.draining or self._over:
            await self.end()
            return
        session.log.info("the link is gone; kept for %g s", self._window_s)
        self._note("link lost")
        session.unlink()
        loop = asyncio.get_running_loop()
        self.left_s = loop.time()
        self._clock = loop.call_later(self._window_s, self.drop, "nobody came back for it")

    def _opened(self, session: Session, *, resumed: bool) -> pb.SessionOpened:
        opened = pb.SessionOpened(
            session_id=self.seat.session_id, server=self._state.info(), resumed=resumed, epoch=session.epoch
        )
        if self.lasts:
            opened.resume_window.FromNanoseconds(round(self._window_s * 1e9))
        return opened

    def _taken_over(self) -> StatusError:
        words = "the session has ended" if self._over else "another call has taken this session over"
        return StatusError(grpc.StatusCode.ABORTED, ErrorCode.INVALID_REQUEST, words)

    def _overflow(self) -> None:
        self.drop(f"over {self._state.config.resume_bytes} bytes wait for a client that is away")

    def _note(self, what: str) -> None:
        if self._trace is not None:
            self._trace.note(what)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def find(state: ServiceState, seat: Seat) -> LastingSession | None:
    """The session of that id, if it is there and this client's. StatusError PERMISSION_DENIED: it is not."""
    found = state.lasting.get(seat.session_id)
    if found is not None and found.seat.owner != seat.owner:
        raise StatusError(
            grpc.StatusCode.PERMISSION_DENIED,
            ErrorCode.UNAUTHENTICATED,
            f"session {seat.session_id} was opened by somebody else; open one of your own",
        )
    return found


def longest_left(state: ServiceState, owner: str) -> LastingSession | None:
    """The session of that owner which has been without a call for longest; None: they are all in use."""
    left = [one for one in state.sessions if one.left_s is not None and one.seat.owner == owner]
    return min(left, key=lambda one: one.left_s or 0.0, default=None)


def _marking(write: Write) -> Write:
    """The same, but a failure to write can be told from all others."""

    async def marked(response: pb.PlanResponse) -> None:
        try:
            await write(response)
        except Exception as error:
            raise UnwrittenError from error

    return marked
