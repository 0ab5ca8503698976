"""Sessions of many threads on one model: continuous batching.

    scheduler = Scheduler(model, SchedulerConfig(cells=16 * 2 * 4096))
    tokens = scheduler.generate(scheduler.branches(capacity=4096), grammar, sampler, ...)

`branches` and `generate` stand where Branches and raster.generate stand for a model of one's own, and
give the same tokens. Each caller iterates them in a thread of its own; one thread of the scheduler
computes, a pass at a time for all of them. That thread lives as long as there are sessions.

Equal up to rounding: in a pass for many, products may be rounded otherwise than in a pass for one. In
float32 that hardly ever changes a token. In bfloat16 two logits may be so near to each other that it
changes one, and with it those after it: there a seed is sure of its tokens only in the same company.
"""

import threading
import weakref
from collections.abc import Callable, Collection, Generator, Sequence

from emu_planner.engine.batcher import Batcher, SchedulerConfig
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.raster import Decoding, Token
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.session import Job, Session, SharedRows
from emu_planner.engine.token_queue import TokenQueue
from emu_planner.model.transformer import Transformer
from emu_planner.plan import ErrorCode, PlanError

# While nothing can be computed, sessions are asked this often whether they shall stop, s.
_POLL_S = 0.02
# The interpreter's end waits so long for the pass that runs: a thread must not be cut off inside one.
_LAST_PASS_S = 60.0


class Scheduler:
    """Shares a model between threads.

    Args:
        model: what computes.
        config: memory and the division of a pass.

    Raises:
        ValueError: the memory asked for is not free.
    """

    def __init__(self, model: Transformer, config: SchedulerConfig) -> None:
        self.batcher = Batcher(model, config)
        self._lock = threading.Lock()
        self._new: list[Session] = []
        self._running = False  # whether the thread lives
        self._signal = threading.Event()
        self._end = _End()
        weakref.finalize(self, self._end.ask)

    def branches(
        self,
        *,
        capacity: int,
        unconditional: Sequence[int] | None = None,
        imageless: Sequence[int] | None = None,
        boi: int | None = None,
    ) -> SharedRows:
        """What Branches is for a model of one's own; memory is taken only while tokens are generated."""
        return SharedRows(capacity, unconditional, imageless, boi)

    def generate(
        self,
        branches: SharedRows,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        prompt: Sequence[int],
        *,
        boi: int,
        ends: Collection[int] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Generator[Token, None, None]:
        """As raster.generate. Passes run ahead of the reader, by config.queue_tokens at most.

        `stopped` is asked in the scheduler's thread too. Closing the iterator ends the session.

        Raises:
            ContextFullError: as of raster.generate.
            PlanError: RESOURCE_EXHAUSTED: such a session can never fit, or a pass did not.
            RuntimeError: a pass failed.
        """
        self.batcher.check(branches)
        job = Job(branches, grammar, sampler, decoding, list(prompt), boi, ends, stopped)
        session = Session(job, TokenQueue(self.batcher.config.queue_tokens, self._signal.set))
        self._submit(session)
        try:
            while not stopped() and (token := session.queue.take()) is not None:
                yield token
        finally:
            # no lock here: the garbage collector may run this in any thread, amid anything
            session.abandoned = True

    def _submit(self, session: Session) -> None:
        with self._lock:
            self._new.append(session)
            if not self._running:
                self._running = True
                thread = threading.Thread(target=self._work, name="emu-planner-engine", daemon=True)
                self._end.thread = thread
                thread.start()
        self._signal.set()

    def _work(self) -> None:
        batcher = self.batcher
        while True:
            self._signal.clear()
            with self._lock:
                for session in self._new:
                    batcher.add(session)
                self._new.clear()
                if self._end.asked:
                    batcher.fail(PlanError(ErrorCode.MODEL_NOT_READY, "the process ends", retryable=True))
                if not batcher.sessions:
                    self._running = False
                    return
            try:
                computed = batcher.step()
            except Exception as error:  # a defect here: readers must not wait for ever
                batcher.fail(error)
                continue
            if not computed:
                self._signal.wait(_POLL_S)


class _End:
    """How the end of the process ends the thread."""

    def __init__(self) -> None:
        self.asked = False
        self.thread: threading.Thread | None = None

    def ask(self) -> None:
        """At the interpreter's end, or when nobody has the scheduler any more: end its thread."""
        self.asked = True
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(_LAST_PASS_S)
