"""What a session has to say: numbered, kept until it has arrived, written by one call at a time.

Lives in the event loop's thread alone. Knows no gRPC and no session.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import StatusError

Write = Callable[[pb.PlanResponse], Awaitable[None]]

# what of the session's responses means the same to a later call
NUMBERED = (
    "progress",
    "plan_started",
    "text_delta",
    "keyframe_progress",
    "subgoal",
    "plan_complete",
    "fault",
)
# what a kept message costs beyond its own bytes, roughly
OVERHEAD_BYTES = 200


@dataclass(eq=False)
class _Item:
    response: pb.PlanResponse
    size: int
    written: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """A session's responses.

    Args:
        limit_bytes: most that is kept for a later call; 0: nothing is, and nothing is numbered.
        overflow: called when that is too little while no call is there to write to.
    """

    def __init__(self, limit_bytes: int, overflow: Callable[[], None]) -> None:
        self._limit, self._overflow = limit_bytes, overflow
        self._kept: deque[_Item] = deque()
        self._bytes = 0
        self._dropped = 0  # number of the newest response that is no longer kept
        self._last = 0  # number of the newest response
        self._queue: deque[_Item] = deque()  # what the present call has not written yet
        self._attached = self._ended = False
        self._turn = 0  # counts the calls: the pump of an earlier one takes nothing more
        self._changed = asyncio.Event()

    @property
    def kept_bytes(self) -> int:
        """What is kept for a later call."""
        return self._bytes

    def check(self, after: int) -> None:
        """StatusError OUT_OF_RANGE: a call cannot go on behind that response."""
        if after > self._last:
            words = f"the session cannot go on after response {after}: it has made {self._last} so far"
        elif after < self._dropped:
            words = (
                f"the session cannot go on after response {after}: those up to {self._dropped} are "
                "not kept any more; open a new session"
            )
        else:
            return
        raise StatusError(grpc.StatusCode.OUT_OF_RANGE, ErrorCode.INVALID_REQUEST, words)

    def attach(self, after: int) -> None:
        """A new call takes what came after that response; `check` comes first."""
        self.detach()
        self._attached, self._turn = True, self._turn + 1
        self._queue = deque(item for item in self._kept if item.response.seq > after)

    def detach(self) -> None:
        """Nobody writes any more; whoever waits for that goes on."""
        self._attached = False
        for item in self._queue:
            item.written.set()
        self._queue.clear()

    def end(self) -> None:
        """Nothing more will be put."""
        self._ended = True
        self._changed.set()

    async def put(self, response: pb.PlanResponse) -> None:
        """Hand over one response, and wait until the present call, if there is one, has written it."""
        item = _Item(response, 0)
        if self._limit and response.WhichOneof("message") in NUMBERED:
            self._last += 1
            response.seq = self._last
            item.size = response.ByteSize() + OVERHEAD_BYTES
            self._keep(item)
        if self._attached:
            self._queue.append(item)
            self._changed.set()
            await item.written.wait()

    def received(self, seq: int) -> None:
        """All responses up to that one have arrived. PlanError INVALID_REQUEST: it was never sent."""
        if seq > self._last:
            raise PlanError(
                ErrorCode.INVALID_REQUEST,
                f"response {seq} cannot have arrived: this session has made {self._last} so far",
            )
        while self._kept and self._kept[0].response.seq <= seq:
            self._drop()

    async def pump(self, write: Write) -> None:
        """Write until the session has ended and everything is written, or another call is attached."""
        turn = self._turn
        while turn == self._turn and (self._queue or not self._ended):
            if not self._queue:
                self._changed.clear()
                await self._changed.wait()
                continue
            item = self._queue[0]
            await write(item.response)
            # meanwhile the queue may have been emptied, or filled anew for another call
            if turn == self._turn and self._queue and self._queue[0] is item:
                self._queue.popleft()
                item.written.set()

    async def flushed(self) -> None:
        """Wait until the present call has written all that is there now."""
        if self._queue:
            await self._queue[-1].written.wait()

    def _keep(self, item: _Item) -> None:
        self._kept.append(item)
        self._bytes += item.size
        while self._bytes > self._limit and len(self._kept) > 1:
            if not self._attached:
                self._overflow()
                return
            self._drop()

    def _drop(self) -> None:
        item = self._kept.popleft()
        self._bytes -= item.size
        self._dropped = item.response.seq
