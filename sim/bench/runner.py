"""Worker processes that do scenes, and one writer that keeps their rows.

A worker is handed a whole scene with the jobs that are still missing there, because planners on one
scene share its real states. It sends each row as soon as it is finished. A worker that dies is
replaced once a scene; then the run ends and can be gone on with. Knows no planner.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sim.bench.ledger import Ledger
from sim.bench.suite import SceneName
from sim.lifeline import end_with

# does some jobs of one scene, in their order: yields (job, row)
Work = Callable[[SceneName, Sequence[str]], Iterator[tuple[str, dict[str, Any]]]]
# runs once in each worker; must be picklable
Start = Callable[[], contextlib.AbstractContextManager[Work]]

MOST_TRIES = 2


class WorkerError(RuntimeError):
    """A worker process could not start, or died again on the same scene."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    scene: SceneName | None = None


def job_name(entrant: str, scene: SceneName) -> str:
    """The name of one entrant on one scene, in a ledger."""
    return f"{entrant} {scene}"


def run(
    scenes: Sequence[SceneName], entrants: Sequence[str], start: Start, ledger: Ledger, *, workers: int
) -> Iterator[tuple[int, int]]:
    """Do every entrant on every scene, but what the ledger has; rows go into it as they come.

    Args:
        entrants: their order is kept within a scene: what derives from another comes after it.

    Yields:
        (jobs done, all jobs), after each.

    Raises:
        WorkerError: see there. What was finished is in the ledger.
    """
    total = len(scenes) * len(entrants)
    waiting = [(s, names) for s in scenes if (names := left(s, entrants, ledger))]
    count = total - sum(len(names) for _, names in waiting)
    yield count, total
    tries: dict[SceneName, int] = {}
    waiting.reverse()
    pool = [_hire(start) for _ in range(min(workers, len(waiting)))]
    try:
        for worker in pool:
            _give(worker, waiting, tries)
        while pool:
            for pipe in wait([worker.pipe for worker in pool]):
                worker = next(w for w in pool if w.pipe is pipe)
                try:
                    kind, *what = worker.pipe.recv()
                except (EOFError, OSError):
                    pool.remove(worker)
                    _bury(worker, waiting, tries, entrants, ledger)
                    pool.append(_hire(start))
                    _give(pool[-1], waiting, tries)
                    continue
                if kind == "row":
                    name, row = what
                    assert worker.scene is not None
                    ledger.append(job_name(name, worker.scene), row)
                    count += 1
                    yield count, total
                elif kind == "failed":
                    raise WorkerError(f"{what[0]}\n{kept(ledger)}")
                elif not _give(worker, waiting, tries):
                    pool.remove(worker)
                    _dismiss(worker)
    finally:
        for worker in pool:
            worker.process.terminate()
            worker.process.join()


def left(scene: SceneName, entrants: Sequence[str], ledger: Ledger) -> list[str]:
    """Entrants whose row of a scene is missing."""
    return [entrant for entrant in entrants if job_name(entrant, scene) not in ledger.done]


def _hire(start: Start) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_labour, args=(theirs, start, os.getpid()))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, waiting: list, tries: dict[SceneName, int]) -> bool:
    """Hand the next scene to a worker; False: there is none."""
    worker.scene = None
    if not waiting:
        return False
    scene, names = waiting.pop()
    worker.scene = scene
    tries[scene] = tries.get(scene, 0) + 1
    with contextlib.suppress(OSError):
        # who is dead already is noticed where it is waited for
        worker.pipe.send((scene, names))
    return True


def _bury(
    worker: _Worker, waiting: list, tries: dict[SceneName, int], entrants: Sequence[str], ledger: Ledger
) -> None:
    """A worker died: its scene goes back to those that wait, once."""
    worker.process.join()
    scene = worker.scene
    if scene is None or tries[scene] >= MOST_TRIES:
        raise WorkerError(
            f"a worker process died (status {worker.process.exitcode}) on scene {scene}; what it said is "
            f"above. {kept(ledger)}"
        )
    waiting.append((scene, left(scene, entrants, ledger)))


def _dismiss(worker: _Worker) -> None:
    with contextlib.suppress(OSError):
        worker.pipe.send(None)
    worker.process.join()


def kept(ledger: Ledger) -> str:
    """What a run that ended early says of what is done."""
    return f"{len(ledger.done)} finished jobs are in {ledger.path}; the same call goes on from there"


# ---- in the worker's process


def _labour(pipe: Connection, start: Start, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # so that `terminate` runs the exits of what is open
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not end_with(parent, signal.SIGTERM):
        return
    try:
        with start() as work:
            while (question := pipe.recv()) is not None:
                scene, names = question
                for job, row in work(scene, names):
                    pipe.send(("row", job, row))
                pipe.send(("done",))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        traceback.print_exc()
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
