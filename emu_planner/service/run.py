"""One plan in a thread: a blocking Planner on one side, the event loop on the other.

Also the one-slot mailbox through which the planner, in its thread, takes the newest observation
that the loop received. Knows no gRPC.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

from emu_planner.plan import (
    ErrorCode,
    Event,
    FrameSource,
    Observation,
    PlanError,
    Planner,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)
from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb

# an event without a picture, and its place in a queue
_EVENT_BYTES = 500


class ReceivedFrames:
    """A FrameSource with one slot: a new message replaces the old one, decoded only when taken.

    Args:
        max_pixels: most pixels of one frame.
        cameras: the names that the session declared; () accepts any.
    """

    def __init__(self, max_pixels: int, cameras: Sequence[str]) -> None:
        self._max_pixels, self._cameras = max_pixels, cameras
        self._arrived = threading.Condition()
        self._message: pb.Observation | None = None
        self.superseded = 0  # messages replaced before anyone took them
        self.taken_seq = 0  # of the newest observation that a planner took
        self.wanted = True  # whether the coming plan has not taken its observation yet

    def put(self, message: pb.Observation) -> None:
        """Replace the slot."""
        with self._arrived:
            self.superseded += self._message is not None and self.wanted
            self._message = message
            self._arrived.notify_all()

    def clear(self) -> None:
        """Empty the slot, before the next plan."""
        with self._arrived:
            self._message, self.wanted = None, True

    def newest(self, timeout_s: float = 0.0) -> Observation:
        """Decode the newest message; INVALID_REQUEST when it makes no observation."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._message is not None, timeout_s):
                raise PlanError(ErrorCode.STALE_OBSERVATION, "no observation arrived", retryable=True)
            message, self.wanted = self._message, False
            assert message is not None, "wait_for has just seen it"
            self.taken_seq = message.seq
        return codec.observation_from_proto(message, self._max_pixels, self._cameras)


class PlanThreads:
    """Threads that are used again, as many as were ever needed at once.

    OpenCV keeps some 900 bytes for each thread that ever used it (its issue 9745): with a new thread a
    plan, a service would grow for ever. They are daemons: a planner that hangs does not keep the process
    alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Callable[[], None]]] = []

    def run(self, work: Callable[[], None]) -> None:
        """Do `work`, which raises nothing, in a thread that is free, or in a new one."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="emu-planner-plan", daemon=True).start()
        inbox.put(work)

    def _serve(self, inbox: "queue.SimpleQueue[Callable[[], None]]") -> None:
        while True:
            inbox.get()()
            with self._lock:
                self._idle.append(inbox)


_THREADS = PlanThreads()


class PlanRun:
    """Runs planner.plan in a thread beside the loop; `items` gets its events, then None or its error.

    Args:
        planner: any Planner.
        task: see Planner.plan; so are the next three.
        frames: see task.
        history: see task.
        stop: see task.
        on_end: called in the loop's thread when the planner's thread is done.
        unread_bytes: most that waits in `items`; more ends the plan with RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        planner: Planner,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome],
        stop: Stop,
        on_end: Callable[[], None],
        *,
        unread_bytes: int,
    ) -> None:
        self._most_unread, self._unread = unread_bytes, 0  # bytes
        self._counting = threading.Lock()
        self.items: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._planner, self._task, self._frames = planner, task, frames
        self._history, self._stop, self._on_end = history, stop, on_end
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin, in a thread of the plans'."""
        _THREADS.run(self._work)

    async def next(self) -> Event | BaseException | None:
        """What the planner said next."""
        item = await self.items.get()
        with self._counting:
            self._unread -= _bytes_of(item)
        return item

    def _work(self) -> None:
        end: BaseException | None = None
        try:
            events = self._planner.plan(self._task, self._frames, self._history, stop=self._stop)
            for event in events:
                if not self._fits(event):
                    words = f"its client reads too slowly: over {self._most_unread} bytes wait for it"
                    end = PlanError(ErrorCode.RESOURCE_EXHAUSTED, words)
                    break
                self._tell(self.items.put_nowait, event)
            # a planner that is left in its plan gives back what it has
            getattr(events, "close", lambda: None)()
        except BaseException as error:
            end = error
        self._history = ()  # its pictures go now
        self._tell(self.items.put_nowait, end)
        self._tell(self._on_end)

    def _fits(self, event: Event) -> bool:
        """Whether the client is not too far behind for it; it is counted then."""
        with self._counting:
            self._unread += _bytes_of(event)
            return self._unread <= self._most_unread

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        # RuntimeError: the loop is closed, the service has shut down without waiting for this planner
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _bytes_of(item: Event | BaseException | None) -> int:
    """Of memory, roughly; a picture is nearly all of it."""
    picture = item.step.keyframe if isinstance(item, StepComplete) else None
    return _EVENT_BYTES + (picture.rgb.nbytes if picture is not None else 0)
