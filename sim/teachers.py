"""Teachers in several processes: situations made ahead of their use, answers judged side by side.

Every answer is the same as of one teacher in this process: a situation can be made again anywhere. Knows
no model and no training.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from types import TracebackType

from sim import lifeline
from sim.rewards import Answer, Curriculum, Situation, Teacher, Verdict

# The teacher of a worker process; set when it starts
_own: Teacher | None = None


class Teachers:
    """One teacher in this process, or one in each of some workers.

    Args:
        curriculum: which situations are drawn.
        workers: processes; 0: this one.
    """

    def __init__(self, curriculum: Curriculum, *, workers: int) -> None:
        if workers < 0:
            raise ValueError(f"workers is {workers}; expected 0 (this process) or more")
        self._teacher = None if workers else Teacher(curriculum)
        self._pool = None
        if workers:
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=_start, initargs=(os.getpid(), curriculum)
            )

    def __enter__(self) -> "Teachers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._teacher is not None:
            self._teacher.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def situations(
        self, lots: Iterator[Sequence[int]], *, whole: bool, ahead: int = 2
    ) -> Iterator[list[Situation]]:
        """The situations of each lot of training seeds; `ahead` lots are made before they are asked for.

        Raises:
            ValueError: a seed that is not for training. BrokenProcessPool: a worker ended.
        """
        if self._pool is None:
            assert self._teacher is not None
            for seeds in lots:
                yield [self._teacher.draw(seed, whole=whole) for seed in seeds]
            return
        made: deque[list[Future[Situation]]] = deque()
        while True:
            made.extend(
                [self._pool.submit(_draw, seed, whole) for seed in seeds]
                for seeds in islice(lots, ahead + 1 - len(made))
            )
            if not made:
                return
            yield [one.result() for one in made.popleft()]

    def judge(self, asked: Sequence[tuple[Situation, Sequence[Answer]]]) -> list[list[Verdict]]:
        """See Teacher.judge; for each situation the verdicts on its answers.

        Raises:
            BrokenProcessPool: a worker ended.
        """
        if self._pool is None:
            assert self._teacher is not None
            return [self._teacher.judge(situation, answers) for situation, answers in asked]
        return [one.result() for one in [self._pool.submit(_judge, *each) for each in asked]]


def _start(parent: int, curriculum: Curriculum) -> None:
    global _own
    if not lifeline.end_with(parent, signal.SIGTERM):
        sys.exit(1)
    # an interrupt of the terminal is the parent's to handle
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _own = Teacher(curriculum)


def _draw(seed: int, whole: bool) -> Situation:  # noqa: FBT001 - goes through a queue
    assert _own is not None
    return _own.draw(seed, whole=whole)


def _judge(situation: Situation, answers: Sequence[Answer]) -> list[Verdict]:
    assert _own is not None
    return _own.judge(situation, answers)
