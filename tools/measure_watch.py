"""Watch steps of the simulator while they are carried out: how long do false drifts last, and true ones?

For every step that the oracle (with --checkpoint: a model) takes in some scenes, a StepWatch is shown the
pictures of the whole motion, one every --period simulated seconds, once for each of four beginnings of the
period; a tenth of a second shows what an arm ten times as slow would show at one look a second. Then the
same step again after something free was displaced by 6 to 12 cm. Prints how many rows of looks have a
longest run of drifting ones of each length; `drift_patience` has to lie above the first, below the second.

Usage: python tools/measure_watch.py [--families stack,sort] [--seeds 5] [--period 0.1] [--checkpoint nano]
"""

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from emu_planner.engine.planner import EmuPlanner
from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.states import PlannedStep, StepState
from emu_planner.goal.watch import StepWatch
from emu_planner.plan import (
    Frame,
    Generation,
    Keyframe,
    Observation,
    Planner,
    Step,
    StepComplete,
    Still,
    Task,
    Verdict,
)
from sim import language
from sim.bench.progress import displaced, seen_by_camera
from sim.camera import VIEWS
from sim.oracle import next_skill
from sim.scene import BENCHMARK_FIRST_SEED, Skill
from sim.world import STEPS_PER_SECOND, World

# pictures that are taken in a period; each of them begins a row of looks of its own
_BEATS = 4
# steps of a scene, as a model may go round in circles
_MOST_STEPS = 8
# looks at a step whose arm stands still again
_AFTER = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="stack,container,sort,zone", help="%(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="scenes of each family (%(default)s)")
    parser.add_argument("--first-seed", type=int, default=BENCHMARK_FIRST_SEED + 400, help="%(default)s")
    parser.add_argument("--period", type=float, default=1.0, help="between looks, s (%(default)s)")
    parser.add_argument("--checkpoint", help="a model that plans, instead of the oracle")
    args = parser.parse_args()
    planner = None if args.checkpoint is None else EmuPlanner.load(args.checkpoint, threads=1)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    runs: dict[str, Counter[int]] = {"as foreseen": Counter(), "something displaced": Counter()}
    said: dict[str, Counter[str]] = {case: Counter() for case in runs}
    with World() as world:
        for family in args.families.split(","):
            for seed in seeds:
                for case, verdicts in _of_scene(world, family, seed, args.period, planner):
                    runs[case][_longest_drift(verdicts)] += 1
                    said[case].update(verdict.value for verdict in verdicts)
    console = Console()
    table = Table("step", *(f"{n}" for n in range(_highest(runs) + 1)), title="longest run of drifting looks")
    for case, counts in runs.items():
        table.add_row(case, *(str(counts[n]) for n in range(_highest(runs) + 1)))
    console.print(table)
    looks = Table("looks", *(verdict.value for verdict in Verdict))
    for case, counted in said.items():
        looks.add_row(case, *(str(counted[verdict.value]) for verdict in Verdict))
    console.print(looks)


def _highest(runs: dict[str, Counter[int]]) -> int:
    return max(max(counts, default=0) for counts in runs.values())


def _longest_drift(verdicts: list[Verdict]) -> int:
    longest = run = 0
    for verdict in verdicts:
        run = run + 1 if verdict is Verdict.DRIFTING else 0
        longest = max(longest, run)
    return longest


def _of_scene(
    world: World, family: str, seed: int, period_s: float, planner: Planner | None
) -> Iterator[tuple[str, list[Verdict]]]:
    """The verdicts of every step and beat, and what was done to the scene."""
    rng = np.random.default_rng(seed)
    world.reset(family, seed)
    for _ in range(_MOST_STEPS):
        found = _next(world, planner)
        if found is None:
            return
        skill, keyframe = found
        start, before = world.picture(), world.snapshot()
        pictures = _carried_out(world, skill, period_s)
        if pictures is None:
            return
        after = world.snapshot()
        cases = {"as foreseen": pictures}
        world.restore(before)
        if displaced(world, rng) and (moved := _carried_out(world, skill, period_s)) is not None:
            cases["something displaced"] = moved
        for case, shown in cases.items():
            for beat in range(_BEATS):
                imagined = pictures[-1] if keyframe is None else keyframe
                yield case, _watched(start, imagined, shown[beat::_BEATS], rng)
        world.restore(after)
        world.forget(before)
        world.forget(after)


def _next(world: World, planner: Planner | None) -> tuple[Skill, np.ndarray | None] | None:
    """The next step and its keyframe (None: what will really be); None: there is none to carry out."""
    scene = world.scene
    if planner is None:
        skill = next_skill(scene.goal, world.state())
        return None if skill is None else (skill, None)
    task = Task(scene.instruction, Generation(max_subgoals=1))
    for event in planner.plan(task, Still(world.observation())):
        if isinstance(event, StepComplete) and event.step.keyframe is not None:
            skill = language.parse(event.step.subgoal, scene)
            return None if skill is None else (skill, event.step.keyframe.rgb)
    return None


def _carried_out(world: World, skill: Skill, period_s: float) -> list[np.ndarray] | None:
    """The pictures of the motion, _BEATS a period, and of the arm that stands still; None: it failed."""
    pictures: list[np.ndarray] = []
    begun, between = world.steps, max(1, round(STEPS_PER_SECOND * period_s / _BEATS))

    def look() -> None:
        if (world.steps - begun) % between == 0:
            pictures.append(world.picture())

    world.on_step = look
    try:
        result = world.execute(skill)
    finally:
        world.on_step = None
    return None if not result.ok else [*pictures, *[world.picture()] * (_AFTER * _BEATS)]


def _watched(
    start: np.ndarray, keyframe: np.ndarray, shown: list[np.ndarray], rng: np.random.Generator
) -> list[Verdict]:
    feed = CameraFeed(VIEWS)
    planned_from = _frames(seen_by_camera(start, rng), 0.0)
    for frame in planned_from:
        feed.put(frame)
    made = PlannedStep(Step(0, "", Keyframe(keyframe, VIEWS)), 1, StepState.ACTIVE, 0.0, 0.0)
    watch = StepWatch(feed, made, Observation(planned_from), max_age_s=3600.0)
    verdicts = []
    for number, picture in enumerate(shown, start=1):
        for frame in _frames(seen_by_camera(picture, rng), 10.0 * number):
            feed.put(frame)
        look = watch.look()
        assert look is not None, "every picture is a new one"
        verdicts.append(look.verdict)
    return verdicts


def _frames(picture: np.ndarray, stamp_s: float) -> tuple[Frame, ...]:
    return tuple(
        Frame(view, name, stamp_s) for view, name in zip(np.hsplit(picture, len(VIEWS)), VIEWS, strict=True)
    )


if __name__ == "__main__":
    main()
