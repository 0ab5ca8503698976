"""Two replicas behind Ray Serve on this machine: how calls spread, what the way costs, what a death costs.

    python -m tools.measure_ray_serve

The planner keeps no pace and computes nothing. The same plan is made in this process, by `emu-planner`'s own
server and through Serve's proxy, in turns. Then a replica is killed within a plan. Needs
requirements/ray_serve.txt.
"""

import argparse
import contextlib
import importlib
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from emu_planner.cli.bench_load_clients import Asked
from emu_planner.cli.bench_load_server import Served, Server
from emu_planner.cli.paced_service import PacedPlanner
from emu_planner.cli.processes import Children, free_port
from emu_planner.cli.ray_serve import SERVICER, application
from emu_planner.plan import (
    Event,
    FrameSource,
    Generation,
    PlanError,
    Planner,
    StepComplete,
    StepOutcome,
    Still,
    Stop,
    Task,
)
from emu_planner.service.config import ServiceConfig
from emu_planner.wire.client import RemotePlanner

_STEPS, _LONG = 3, 40


@dataclass(frozen=True)
class Signing:
    """The paced planner, which writes a line for each plan into a file of its process."""

    folder: Path
    token_s: float = 0.0

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner. A task of many steps takes its time."""
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write(f"{task.instruction}\n")
        pace_s = 0.01 if task.generation.max_subgoals == _LONG else 0.0
        return PacedPlanner(token_s=pace_s).plan(task, frames, history, stop=stop)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=60, help="of each way (default: %(default)s)")
    args = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name, Children(Path(name) / "logs", {}) as children:
        folder = Path(name) / "plans"
        folder.mkdir()
        own = Server("own service", Served(None, 4, 1, 0.0), children, console)
        with _replicas(folder) as target:
            _compare(own.target, target, args.plans)
            made = {file.name: len(file.read_text().splitlines()) for file in folder.iterdir()}
            print(f"plans by replica: {sorted(made.values())}")
            _kill(target, folder)


@contextlib.contextmanager
def _replicas(folder: Path) -> Iterator[str]:
    ray: Any = importlib.import_module("ray")
    serve: Any = importlib.import_module("ray.serve")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    port = free_port()
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"port": free_port()},
            grpc_options=serve.config.gRPCOptions(port=port, grpc_servicer_functions=[SERVICER]),
        )
        serve.run(
            application(
                partial(Signing, folder),
                ServiceConfig(max_running_plans=4),
                num_replicas=2,
                ray_actor_options={"num_cpus": 0.1},
            )
        )
        yield f"127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def _compare(own: str, behind: str, plans: int) -> None:
    frames = Still(Asked().view())
    times: dict[str, list[float]] = {"direct call": [], "own server": [], "Ray Serve": []}
    with RemotePlanner(own) as near, RemotePlanner(behind) as far:
        ways: dict[str, Planner] = dict(zip(times, (PacedPlanner(), near, far), strict=True))
        for number in range(plans + 2):
            for name, planner in ways.items():
                spent_s = _time_plan(planner, frames)
                if number >= 2:  # the first ones pay for connections
                    times[name].append(spent_s)
    for name, spent in times.items():
        print(f"{name}: {1e3 * statistics.median(spent):.1f} ms a plan of {_STEPS} steps (of {plans})")


def _time_plan(planner: Planner, frames: Still) -> float:
    begun_s = time.perf_counter()
    for _ in planner.plan(Task("stack", Generation(max_subgoals=_STEPS)), frames):
        pass
    return time.perf_counter() - begun_s


def _kill(target: str, folder: Path) -> None:
    frames = Still(Asked().view())
    long = Task("the last plan of a replica", Generation(max_subgoals=_LONG))
    with RemotePlanner(target) as remote:
        plan = remote.plan(long, frames)
        while not isinstance(next(plan), StepComplete):
            pass
        (victim,) = (file for file in folder.iterdir() if long.instruction in file.read_text())
        os.kill(int(victim.name), signal.SIGKILL)
        killed_s = time.monotonic()
        try:
            for _ in plan:
                pass
            print("the plan came whole")
        except PlanError as error:
            print(f"its robot is told {error.code.value} after {time.monotonic() - killed_s:.1f} s")
        failed: Counter[str] = Counter()
        whole_in_turn = 0
        while whole_in_turn < 16:  # by then both halves of the hash have been asked
            try:
                _time_plan(remote, frames)
                whole_in_turn += 1
            except PlanError as error:
                failed[error.code.value] += 1
                whole_in_turn = 0
            since_s = time.monotonic() - killed_s
        print(
            f"16 plans in turn came whole {since_s:.1f} s after the kill; before that failed: {dict(failed)}"
        )


if __name__ == "__main__":
    main()
