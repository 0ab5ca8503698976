"""How often the oracle solves the scenes of a robot, and how fast: a command that prints the record.

    python -m sim.oracle_record --robot kuka --seeds 200

Each family's first N training seeds and first N benchmark seeds, without detours and pictures;
families that a robot cannot do (tasks.robots_for) are left out. A scene counts as solved when every
skill reached its outcome, moved nothing else, and the task is done. Rows go to a JSON-lines file when
--out names one; a run that was cut goes on from there.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sim import robots
from sim.episode import ImperfectError, act
from sim.oracle import MOST_STEPS, next_skill
from sim.scene import BENCHMARK_FIRST_SEED
from sim.tasks import chosen, robots_for
from sim.world import World

SETS = {"training": 0, "benchmark": BENCHMARK_FIRST_SEED}


@dataclass(frozen=True)
class Run:
    """One scene, solved or not."""

    robot: str
    family: str
    seed: int
    solved: bool
    # why not
    detail: str
    skills: int
    # steps of physics, 1/240 s
    steps: int
    # of one core, with building the scene
    seconds: float


def solve(world: World, family: str, seed: int, robot: str) -> Run:
    """Let the oracle work on one scene until nothing is left to do or something goes wrong."""
    began_s = time.process_time()
    scene = world.reset(family, seed, robot)
    skills, detail = 0, ""
    try:
        while (skill := next_skill(scene.goal, world.state())) is not None:
            if skills == MOST_STEPS:
                raise ImperfectError(f"not done after {MOST_STEPS} skills")
            act(world, skill)
            skills += 1
    except ImperfectError as error:
        detail = str(error)
    if not detail:
        detail = ", ".join(name for name, true in world.success().items() if not true)
    seconds = time.process_time() - began_s
    return Run(robot, family, seed, not detail, detail, skills, world.steps, round(seconds, 4))


def scenes(families: Sequence[str], count: int) -> list[tuple[str, int]]:
    """(family, seed) of the record: the first seeds of both sets."""
    return [(family, first + i) for first in SETS.values() for family in families for i in range(count)]


def work(robot: str, wanted: Sequence[tuple[str, int]], out: Path | None = None) -> Iterator[Run]:
    """Solve scenes in turn; those that the file has already are not solved again."""
    runs = _read(out) if out is not None and out.exists() else {}
    with World() as world:
        for family, seed in wanted:
            run = runs.get((robot, family, seed))
            if run is None:
                run = solve(world, family, seed, robot)
                if out is not None:
                    with out.open("a", encoding="ascii") as file:
                        file.write(json.dumps(asdict(run)) + "\n")
            yield run


def _read(path: Path) -> dict[tuple[str, str, int], Run]:
    runs = [Run(**json.loads(line)) for line in path.read_text(encoding="ascii").splitlines()]
    return {(run.robot, run.family, run.seed): run for run in runs}


def table(runs: Sequence[Run]) -> list[str]:
    """Lines for people: solved of tried by set and family, speed, and what failed."""
    tried, solved = Counter(map(_cell, runs)), Counter(_cell(run) for run in runs if run.solved)
    families = list(dict.fromkeys(run.family for run in runs))
    lines = []
    for robot in dict.fromkeys(run.robot for run in runs):
        for name in SETS:
            cells = [(robot, name, family) for family in families]
            shown = ", ".join(f"{cell[2]} {solved[cell]}/{tried[cell]}" for cell in cells if tried[cell])
            lines.append(f"{robot:7} {name:9} {shown}")
        own = [run for run in runs if run.robot == robot]
        seconds, steps = sum(run.seconds for run in own), sum(run.steps for run in own)
        lines.append(
            f"{robot:7} {len(own) / seconds:.1f} episodes/s and core, {steps / seconds:.0f} steps/s, "
            f"{steps / len(own):.0f} steps an episode"
        )
    lines += [f"failed: {r.robot} {r.family} {r.seed}: {r.detail}" for r in runs if not r.solved]
    return lines


def _cell(run: Run) -> tuple[str, str, str]:
    return run.robot, "benchmark" if run.seed >= BENCHMARK_FIRST_SEED else "training", run.family


def main(argv: list[str] | None = None) -> int:
    """Solve and print; 0 when every scene was solved, 1 otherwise, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="sim.oracle_record", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--robot", default="all", help=f"{', '.join(robots.ROBOTS)} or all (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=200, help="of each set and family (default: 200)")
    parser.add_argument("--families", default="all", help="all, groups or names, with commas (default: all)")
    parser.add_argument("--out", type=Path, help="JSON-lines file of the rows")
    args = parser.parse_args(argv)
    try:
        names, families = robots.chosen(args.robot), chosen(args.families)
    except ValueError as error:
        sys.stderr.write(f"sim.oracle_record: {error}\n")
        return 2
    runs = []
    for name in names:
        able = [family for family in families if name in robots_for(family)]
        runs += list(work(name, scenes(able, args.seeds), args.out))
    sys.stdout.write("\n".join(table(runs)) + "\n")
    return 0 if all(run.solved for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
