"""One session: a task, its plans one after another, and the messages of its client between them.

`work` carries out plans; `handle` takes what the client says meanwhile. Knows no gRPC context and no
call: it sends through a function, and fails with PlanError.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.service.run import PlanRun, ReceivedFrames
from emu_planner.service.slots import Ticket
from emu_planner.service.state import ServiceState, draining_error
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.tracing import SessionTrace

logger = logging.getLogger(__name__)

Send = Callable[[pb.PlanResponse], Awaitable[None]]

# characters of an outcome's words that are kept
MAX_DETAIL = 2000
SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(eq=False)
class Order:
    """One plan to be made: the epoch counts them within a session, from 1."""

    epoch: int
    task: Task
    history: Sequence[StepOutcome]
    stop: Stop = field(default_factory=Stop)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    superseded: bool = False
    ticket: Ticket | None = None
    run: PlanRun | None = None


class Session:
    """Everything between a client's `open` and the end of what it asks for.

    Args:
        state: what all sessions share.
        task: from `open`; so are cameras, history and session_id.
        cameras: names of the declared cameras; () accepts any.
        history: steps of the past.
        session_id: checked by `checked_id`.
        send: writes one response to the client.
        client: name of the token's holder; empty where no token is asked for.
        trace: the session's spans; None: there are none.
    """

    def __init__(
        self,
        state: ServiceState,
        task: Task,
        cameras: Sequence[str],
        history: Sequence[StepOutcome],
        session_id: str,
        send: Send,
        client: str = "",
        trace: SessionTrace | None = None,
    ) -> None:
        self._state, self._config, self._send, self._trace = state, state.config, send, trace
        self._client = client
        self.log = self._log = _SessionLog(
            logger, {"session": f"{client}/{session_id}" if client else session_id}
        )
        self._frames = ReceivedFrames(self._config.max_pixels, cameras)
        self._credits = 0  # granted and not used yet
        self._asked_s = 0.0  # when the last credit was granted
        self._observed = asyncio.Event()
        self._linked = asyncio.Event()  # a call serves the session, which can ask its client
        self._linked.set()
        self._fixed = False  # the observation is in the slot from the start: no credits
        self._history: dict[int, StepOutcome] = {past.step.index: past for past in history}
        self._steps: dict[tuple[int, int], Step] = {}  # by epoch and index
        self._order = Order(1, task, tuple(history))
        self._pending: Order | None = self._order
        self._closed = False  # the client sends nothing more
        self._ignored = False  # whether a message was there that this service does not know
        self._wake = asyncio.Event()
        self._resting = asyncio.Event()  # no plan is in work, and none is asked for

    @property
    def epoch(self) -> int:
        """Number of the newest plan that was asked for."""
        return self._order.epoch

    async def work(self) -> None:
        """Carry out plans until the client wants no more. PlanError: the session has to end with that."""
        while (order := await self._next_order()) is not None:
            self.log.info("plan %d: %r", order.epoch, order.task.instruction)
            try:
                await self._carry_out(order)
            except PlanError as error:
                self.log.warning("plan %d failed: %s", order.epoch, error)
                if error.code not in codec.FAULT_NUMBERS or error.code is ErrorCode.INTERNAL:
                    raise
                await self._send(codec.error_to_fault(error, order.epoch))

    async def plan_once(self, observation: pb.Observation) -> None:
        """Make the one plan of a call whose observation is given at the start."""
        self._frames.put(observation)
        self._fixed = self._closed = True
        await self.work()

    def half_close(self) -> None:
        """The client says nothing more: the work in flight is the last."""
        self._closed = True
        self._wake.set()

    async def rested(self) -> None:
        """Wait until no plan is in work, and none is asked for."""
        await self._resting.wait()

    async def grant_again(self) -> None:
        """Repeat a credit whose observation has not come: either was lost with a link."""
        if self._credits and self._frames.wanted:
            self._credits = 0
            await self._grant()
        self._linked.set()

    def unlink(self) -> None:
        """No call serves it: the time for an observation begins anew with the next."""
        self._linked.clear()

    def release(self) -> None:
        """It is over: give pictures back now; it is in reference cycles, which nobody collects soon."""
        self._frames.clear()
        self._steps.clear()
        self._history.clear()
        self._order.history = ()

    def wake(self) -> None:
        """Look again: the service drains."""
        self._wake.set()
        if self._order.ticket is not None:
            self._order.ticket.changed.set()

    def halt(self) -> None:
        """Ask the present plan to stop."""
        self._halt(self._order)

    async def _next_order(self) -> Order | None:
        while self._pending is None:
            if self._closed:
                return None
            if self._state.draining:
                raise draining_error()
            self._wake.clear()
            self._resting.set()
            try:
                await asyncio.wait_for(self._wake.wait(), self._config.idle_timeout_s)
            except asyncio.TimeoutError:
                idle_s = self._config.idle_timeout_s
                raise PlanError(
                    ErrorCode.TIMEOUT, f"the session was idle for {idle_s:g} s; open a new one"
                ) from None
        order, self._pending = self._pending, None
        self._resting.clear()
        return order

    async def _carry_out(self, order: Order) -> None:
        try:
            if not await _unless_stopped(order, self._prepare(order)):
                await self._tell(order, PlanComplete(FinishReason.INTERRUPTED))
                return
            planner, ticket, slots = self._state.planner, order.ticket, self._state.slots
            assert planner is not None, "_prepare waits for the planner"
            assert ticket is not None, "_prepare has queued up"
            order.run = PlanRun(
                planner,
                order.task,
                self._frames,
                order.history,
                order.stop,
                on_end=lambda: slots.leave(ticket),
                unread_bytes=self._config.unread_bytes,
            )
            order.run.start()
            await self._forward(order, order.run)
        finally:
            order.stop.request()
            # a plan that runs gives its slot back when its thread has ended
            if order.run is None and order.ticket is not None:
                self._state.slots.leave(order.ticket)

    async def _prepare(self, order: Order) -> None:
        """Wait for the model, then in the queue, then for the newest observation."""
        while not self._state.ready.is_set():
            if self._state.draining:
                raise draining_error()
            progress = pb.ServerProgress(state=pb.SERVER_STATE_LOADING, detail="the model is loading")
            await self._send(pb.PlanResponse(progress=progress))
            await _wait(self._state.ready, self._config.loading_notice_s)
        order.ticket = ticket = self._state.slots.enter()
        while not ticket.granted:
            if self._state.draining:
                raise draining_error()
            ticket.changed.clear()
            detail = f"{ticket.position} plans are before this one in the queue"
            progress = pb.ServerProgress(
                state=pb.SERVER_STATE_QUEUED, detail=detail, queue_position=ticket.position
            )
            await self._send(pb.PlanResponse(progress=progress))
            await ticket.changed.wait()
        if self._fixed:
            return
        # the credit comes after the queue, or the observation would have aged in it
        self._frames.clear()
        self._observed.clear()
        self._credits = 0
        await self._grant()
        loop, timeout_s = asyncio.get_running_loop(), self._config.observation_timeout_s
        while not await _wait(self._observed, self._asked_s + timeout_s - loop.time()):
            if not self._linked.is_set():
                await self._linked.wait()
            if loop.time() < self._asked_s + timeout_s:
                continue  # asked again by another call
            raise PlanError(
                ErrorCode.STALE_OBSERVATION,
                f"no observation within {timeout_s:g} s of the credit for one; check the cameras",
                retryable=True,
            )

    async def _forward(self, order: Order, run: PlanRun) -> None:
        """Pass on what the planner says, and hold it to the task's time limits."""
        loop, generation = asyncio.get_running_loop(), order.task.generation
        limit_s, what, since_s = generation.first_subgoal_timeout_s, "first", loop.time()
        if order.stopped.is_set():
            self._end_after_grace(run)
        seq = 0
        while True:
            left_s = None if limit_s is None else max(0.0, since_s + limit_s - loop.time())
            try:
                item = await asyncio.wait_for(run.next(), left_s)
            except asyncio.TimeoutError:
                raise PlanError(
                    ErrorCode.TIMEOUT, f"the {what} subgoal took over {limit_s:g} s", retryable=True
                ) from None
            if item is None:
                raise RuntimeError("the planner's stream ended without PlanComplete")
            if isinstance(item, BaseException):
                raise item
            if self._trace is not None:
                self._trace.see(item)
            if isinstance(item, PlanStarted):
                seq = item.observation_seq
            if isinstance(item, StepComplete):
                limit_s, what, since_s = generation.subgoal_timeout_s, "next", loop.time()
                self._remember(order.epoch, item.step)
            await self._tell(order, item, seq)
            if isinstance(item, PlanComplete):
                self.log.info("plan %d: %s", order.epoch, item.reason.value)
                return

    async def _tell(self, order: Order, event: Event, seq: int = 0) -> None:
        encoding: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self._trace is not None and isinstance(event, StepComplete):
            encoding = self._trace.work("keyframe encode", event.step.index)

        def convert() -> pb.PlanResponse:
            return codec.event_to_proto(
                event,
                order.epoch,
                keyframes=order.task.generation.keyframes,
                observation_seq=seq,
                superseded=order.superseded,
            )

        # a keyframe is compressed, which is too long for the loop
        heavy = isinstance(event, StepComplete)
        with encoding:
            response = await asyncio.to_thread(convert) if heavy else convert()
        await self._send(response)

    async def handle(self, request: pb.PlanRequest) -> None:
        """Take one message of the client. PlanError: it makes no sense here."""
        match request.WhichOneof("message"):
            case "observation":
                self._frames.put(request.observation)
                self._credits = max(0, self._credits - 1)
                self._observed.set()
                if self._frames.wanted:
                    await self._grant()
            case "replan":
                await self._replan(request.replan)
            case "interrupt":
                if request.interrupt.epoch in (0, self._order.epoch):
                    self._halt(self._order)
            case "outcome":
                self._record(request.outcome)
            case "ping":
                pong = pb.Pong(id=request.ping.id, client_time=request.ping.client_time)
                pong.server_time.GetCurrentTime()
                await self._send(pb.PlanResponse(pong=pong))
            case "open":
                raise _invalid("the session is open already; one call is one session")
            case "review":
                raise _invalid(
                    "this service does not review (see ServerInfo.capabilities); "
                    "send Replan with the history as reviewed"
                )
            case _:
                if not self._ignored:  # once: who sends many shall not fill the log
                    self.log.info("ignored a message of a newer wire version")
                self._ignored = True

    async def _grant(self) -> None:
        if self._credits == 0:
            self._credits = 1
            credit = pb.ObservationCredit(
                credits=1,
                consumed_seq=self._frames.taken_seq,
                superseded=self._frames.superseded,
            )
            await self._send(pb.PlanResponse(credit=credit))
            self._asked_s = asyncio.get_running_loop().time()

    async def _replan(self, replan: pb.Replan) -> None:
        old = self._order
        if replan.base_epoch not in (0, old.epoch):
            raise _invalid(f"Replan is based on epoch {replan.base_epoch}, but the session is at {old.epoch}")
        if self._state.draining:
            raise draining_error()
        if self._state.access is not None:
            self._state.access.admit_again(self._client)
        history = tuple(self._history[index] for index in sorted(self._history))
        if replan.history:
            history = await checked_history(replan.history, self._config)
            self._history = {past.step.index: past for past in history}
        task = Task(replan.instruction or old.task.instruction, old.task.generation)
        self._order = self._pending = Order(old.epoch + 1, task, history)
        self._resting.clear()
        old.superseded = True
        self._halt(old)
        self._wake.set()

    def _halt(self, order: Order) -> None:
        if order.stopped.is_set():
            return
        order.stop.request()
        order.stopped.set()
        if order.run is not None:
            self._end_after_grace(order.run)

    def _end_after_grace(self, run: PlanRun) -> None:
        """For a planner that does not look at its Stop; too late if it did, and so unread."""
        end = PlanComplete(FinishReason.INTERRUPTED)
        asyncio.get_running_loop().call_later(self._config.stop_grace_s, run.items.put_nowait, end)

    def _remember(self, epoch: int, step: Step) -> None:
        self._steps[epoch, step.index] = step
        if len(self._steps) > self._config.max_history:
            del self._steps[next(iter(self._steps))]

    def _record(self, message: pb.SubgoalOutcome) -> None:
        step = self._steps.get((message.epoch, message.index))
        if step is None:
            raise _invalid(f"there is no subgoal {message.index} of epoch {message.epoch} in this session")
        outcome = codec.outcome_from_proto(message.outcome)
        self._history[step.index] = StepOutcome(step, outcome, message.detail[:MAX_DETAIL])


def checked_id(session_id: str) -> str:
    """A session id that is safe in a log line. PlanError INVALID_REQUEST otherwise."""
    if not SESSION_ID.fullmatch(session_id):
        raise _invalid(
            f"session_id {session_id[:64]!r} is not 1 to 64 letters, digits, '.', '_' or '-'; take a UUID"
        )
    return session_id


async def checked_history(
    messages: Sequence[pb.PastSubgoal], config: ServiceConfig
) -> tuple[StepOutcome, ...]:
    """Decode a history beside the loop: its keyframes are many."""
    if len(messages) > config.max_history:
        raise _invalid(f"the history has {len(messages)} steps; at most {config.max_history}")
    return await asyncio.to_thread(codec.history_from_proto, messages, config.max_pixels)


class _SessionLog(logging.LoggerAdapter):
    """Puts the session's id at the head of each line, and in the record as `session`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Prefix the message."""
        kwargs["extra"] = self.extra
        return f"session {(self.extra or {})['session']}: {msg}", kwargs


async def _unless_stopped(order: Order, work: Awaitable[None]) -> bool:
    """Await `work`, but give it up when the order is stopped before; whether it was done."""
    doing, stopped = asyncio.ensure_future(work), asyncio.create_task(order.stopped.wait())
    try:
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        await cancel(doing, stopped)


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except asyncio.TimeoutError:
        return False
    return True


async def cancel(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel, and wait until they have ended, however they do."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _invalid(message: str) -> PlanError:
    return PlanError(ErrorCode.INVALID_REQUEST, message)
