"""The simulator's oracle behind a gRPC socket: the demo's whole path without any model.

    python -m emu_planner.cli.oracle_service --port PORT --scene FAMILY --robot ROBOT --seed SEED

It does not look at the frames. It draws the same scene, carries out there what the history says, and
plans from that state: the simulator gives the same bits again. A composition root.
"""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence

from emu_planner.plan import Event, FrameSource, StepOutcome, Stop, Task
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import serve
from sim import language, robots, tasks
from sim.oracle import OraclePlanner
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World

# the scene that sim.ros_node shows unless told otherwise
DEFAULT_SEED = BENCHMARK_FIRST_SEED + 1


class FollowingOracle:
    """A Planner for one scene that another process simulates.

    Args:
        family, seed, robot: the scene.
    """

    def __init__(self, family: str, seed: int, robot: str) -> None:
        self._scene = (family, seed, robot)
        self._world = World()
        self._oracle = OraclePlanner(self._world)
        self._lock = threading.Lock()  # one world, one plan

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """See plan.Planner. PlanError INVALID_REQUEST: the grammar cannot read the instruction."""
        with self._lock:
            self._world.reset(*self._scene)
            for past in history:
                skill = language.parse_skill(past.step.subgoal, self._world.scene)
                if skill is not None and skill in self._world.legal_skills():
                    self._world.execute(skill)
            yield from self._oracle.plan(task, frames, history, stop=stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 3: the port is taken."""
    parser = argparse.ArgumentParser(prog="oracle_service", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--scene", choices=tasks.FAMILIES, default="stack")
    parser.add_argument("--robot", choices=robots.ROBOTS, default=robots.DEFAULT)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    args = parser.parse_args(argv)
    config = ServiceConfig(address=f"127.0.0.1:{args.port}", model="oracle")
    try:
        serve(lambda: FollowingOracle(args.scene, args.seed, args.robot), config)
    except OSError as error:
        print(f"oracle_service: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
