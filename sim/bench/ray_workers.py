"""Workers on many machines, with Ray: the same jobs, and the same rows, as the processes of runner.py.

One actor is one worker. This process alone writes: rows, plans and the planner's log come back from the
actors, which know no common folder. Every machine needs this version of the code (that is checked), and
a checkpoint or training data under the same path. Ray is optional: requirements/ray.txt.
"""

import contextlib
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.bench.kept_plans import plan_path
from sim.bench.ledger import Ledger
from sim.bench.runner import MOST_TRIES, Start, WorkerError, job_name, kept, left
from sim.bench.suite import SceneName
from sim.bench.versions import versions

if TYPE_CHECKING:
    from sim.bench.evaluate import Setup

LOCAL = "local"


@dataclass(frozen=True)
class Finished:
    """One row on its way home."""

    name: str
    row: dict[str, Any]
    # the file of the plan that the row is of; None: the row is of no plan that is kept
    plan: bytes | None
    # what the planner's process wrote since the last row
    log: bytes


class Hand:
    """What an actor does: the jobs of a scene, one after the other.

    Args:
        start: makes the work from a Setup, see evaluate.start_worker.
        wanted: the driver's versions. ValueError: this machine has others.
    """

    def __init__(self, setup: "Setup", start: Any, wanted: dict[str, str]) -> None:
        if (found := versions()) != wanted:
            different = [
                f"{key} {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key]
            ]
            raise ValueError(
                f"the machine {os.uname().nodename} has {'; '.join(different)}: scores would mix"
            )
        self._stack = contextlib.ExitStack()
        out = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="emu-bench-")))
        self._home, self._setup, self._read = setup.out, replace(setup, out=out), 0
        try:
            self._work = self._stack.enter_context(start(self._setup))
        except BaseException:
            self._stack.close()
            raise

    def ready(self) -> None:
        """Returns once the worker has started."""

    def do(self, scene: SceneName, names: Sequence[str], plan: bytes | None) -> Iterator[Finished]:
        """Rows of one scene, in their order. `plan`: the planner's, if it was asked before."""
        path = plan_path(self._setup.plans, scene)
        if plan is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(plan)
        for name, row in self._work(scene, names):
            made = path.read_bytes() if name == self._setup.planner else None
            # a row may name the planner's log: as it is called at home
            told = json.dumps(row).replace(str(self._setup.out), str(self._home))
            yield Finished(name, json.loads(told), made, self._new_log())

    def leave(self) -> None:
        """End the planner's process and remove what is not wanted any more."""
        self._stack.close()

    def _new_log(self) -> bytes:
        log = self._setup.out / "planner.log"
        if not log.is_file():
            return b""
        with log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        return new


def run(
    setup: "Setup", start: Any, ledger: Ledger, *, address: str, workers: int | None
) -> Iterator[tuple[int, int]]:
    """As runner.run, on the machines of a Ray cluster.

    Args:
        address: of the cluster's head, HOST:PORT; "auto"; or "local": one that is started here.
        workers: None: for a control one a processor of the cluster, for a planner one a machine.

    Raises:
        ValueError: Ray is not installed, or the cluster has fewer processors than workers.
        WorkerError: no cluster answers, or as in runner.run.
    """
    ray = _ray()
    with _connected(ray, address, workers):
        processors = int(ray.cluster_resources().get("CPU", 0))
        if workers is None:
            workers = processors if setup.make is None else len([n for n in ray.nodes() if n["Alive"]])
        if workers > processors:
            raise ValueError(f"{workers} workers are more than the {processors} processors of {address}")
        yield from _Crew(ray, setup, start, ledger).work(workers)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ValueError(
            f"--ray needs the package ray ({error}); install it on every machine: "
            "pip install -r requirements/ray.txt"
        ) from error


@contextlib.contextmanager
def _connected(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkerError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


class _Crew:
    """The actors and what is left to do; in this process."""

    def __init__(self, ray: Any, setup: "Setup", start: Start, ledger: Ledger) -> None:
        self._ray, self._setup, self._start, self._ledger = ray, setup, start, ledger
        scenes, entrants = setup.suite.scenes, setup.entrants
        self._total = len(scenes) * len(entrants)
        self._waiting = [s for s in reversed(scenes) if left(s, entrants, ledger)]
        self._tries: dict[SceneName, int] = {}
        # by the stream of its rows: an actor and its scene
        self._busy: dict[Any, tuple[Any, SceneName]] = {}

    def work(self, workers: int) -> Iterator[tuple[int, int]]:
        """(jobs done, all jobs), after each."""
        count = self._total - sum(len(self._left(scene)) for scene in self._waiting)
        yield count, self._total
        for actor in self._hire(min(workers, len(self._waiting))):
            self._give(actor)
        while self._busy:
            (stream, *_), _ = self._ray.wait(list(self._busy), num_returns=1)
            actor, scene = self._busy[stream]
            try:
                finished = self._ray.get(next(stream))
            except StopIteration:
                del self._busy[stream]
                self._give(actor)
            except self._ray.exceptions.RayActorError as error:
                del self._busy[stream]
                self._bury(scene, error)
            except self._ray.exceptions.RayTaskError as error:
                raise WorkerError(f"{_said(error)}\n{kept(self._ledger)}") from error
            else:
                self._keep(scene, finished)
                count += 1
                yield count, self._total

    def _left(self, scene: SceneName) -> list[str]:
        return left(scene, self._setup.entrants, self._ledger)

    def _hire(self, count: int) -> list[Any]:
        make = self._ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(Hand)
        actors = [make.remote(self._setup, self._start, versions()) for _ in range(count)]
        try:
            self._ray.get([actor.ready.remote() for actor in actors])
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"{_said(error)}\n{kept(self._ledger)}") from error
        return actors

    def _give(self, actor: Any) -> None:
        """Hand an actor the next scene, or let it leave."""
        if not self._waiting:
            self._ray.get(actor.leave.remote())
            return
        scene = self._waiting.pop()
        self._tries[scene] = self._tries.get(scene, 0) + 1
        path = plan_path(self._setup.plans, scene)
        plan = path.read_bytes() if path.is_file() else None
        stream = actor.do.options(num_returns="streaming").remote(scene, self._left(scene), plan)
        self._busy[stream] = actor, scene

    def _bury(self, scene: SceneName, error: Exception) -> None:
        """An actor or its machine died: its scene is tried once more, by another."""
        if self._tries[scene] >= MOST_TRIES:
            raise WorkerError(f"a worker died on scene {scene}: {error}\n{kept(self._ledger)}") from error
        self._waiting.append(scene)
        self._give(*self._hire(1))

    def _keep(self, scene: SceneName, finished: Finished) -> None:
        setup = self._setup
        if finished.plan is not None:
            path = plan_path(setup.plans, scene)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            partial.write_bytes(finished.plan)
            partial.replace(path)
        if finished.log:
            with (setup.out / "planner.log").open("ab") as file:
                file.write(finished.log)
        self._ledger.append(job_name(finished.name, scene), finished.row)


def _said(error: Any) -> str:
    """What went wrong in the worker, without Ray's own words where it has a cause."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}"
    return str(error).strip().splitlines()[-1]
