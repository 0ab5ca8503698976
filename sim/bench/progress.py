"""How often is `plan.progress` wrong? Live pictures of known meaning, from scripted skills.

For one step of each scene: it is carried out (and its object pushed a little), nothing moves, another
skill is carried out, an object is displaced by hand, or the arm stands still on its way. Pictures get
camera noise and another brightness. Keyframes are the simulator's own, not a model's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.progress import Progress, ProgressLimits, Verdict, compare
from sim.oracle import next_skill
from sim.scene import Skill
from sim.world import World

# what happened: what a perfect judge says
CASES = {
    "carried out": Verdict.REACHED,
    "no motion": Verdict.UNKNOWN,
    "wrong object": Verdict.DRIFTING,
    "disturbance": Verdict.DRIFTING,
    "arm in view": Verdict.UNKNOWN,
}
_NOISE = 3.0  # grey levels, standard deviation
_GAIN = 0.03  # relative, standard deviation
_NUDGE_M = 0.005  # how exactly a robot puts something down
_DISPLACED_M = (0.06, 0.12)


@dataclass(frozen=True)
class Sample:
    """One live picture, measured."""

    family: str
    case: str
    progress: Progress


def samples(families: Iterable[str], seeds: Sequence[int]) -> Iterable[Sample]:
    """Every case of one step of each scene; cases that a scene does not have are left out."""
    with World() as world:
        for family, seed in product(families, seeds):
            yield from _of_scene(world, family, seed)


def rates(found: Sequence[Sample], limits: ProgressLimits, verdict: Verdict) -> tuple[int, int, int, int]:
    """False alarms, of how many; misses, of how many: of one verdict."""
    said = [(CASES[s.case] is verdict, s.progress.verdict(limits) is verdict) for s in found]
    false = sum(says and not is_so for is_so, says in said)
    missed = sum(is_so and not says for is_so, says in said)
    positives = sum(is_so for is_so, _ in said)
    return false, len(said) - positives, missed, positives


def fit(found: Sequence[Sample]) -> ProgressLimits:
    """The limits of a grid with the smallest sum of both verdicts' false-alarm and miss rates.

    Of equals, those nearest to the shipped ones, as ratios.
    """
    shipped = ProgressLimits()

    def loss(limits: ProgressLimits) -> tuple[float, float]:
        total = 0.0
        for verdict in (Verdict.REACHED, Verdict.DRIFTING):
            false, negatives, missed, positives = rates(found, limits, verdict)
            total += false / max(negatives, 1) + missed / max(positives, 1)
        pairs = (
            (limits.reached_score, shipped.reached_score),
            (limits.drifting_share, shipped.drifting_share),
            (limits.covered_share, shipped.covered_share),
        )
        return round(total, 9), sum(abs(float(np.log(a / b))) for a, b in pairs)

    grid = product(np.arange(0.3, 0.95, 0.05), np.geomspace(0.0005, 0.02, 12), np.geomspace(0.005, 0.1, 12))
    choices = [
        ProgressLimits(reached_score=float(r), drifting_share=float(d), covered_share=float(c))
        for r, d, c in grid
        if d < c
    ]
    return min(choices, key=loss)


def _of_scene(world: World, family: str, seed: int) -> Iterable[Sample]:
    rng = np.random.default_rng(seed)
    scene = world.reset(family, seed)
    for _ in range(int(rng.integers(0, 3))):
        ahead = next_skill(scene.goal, world.state())
        if ahead is None or not world.execute(ahead).ok:
            break
    skill = next_skill(scene.goal, world.state())
    if skill is None:
        return
    start, before = world.picture(), world.snapshot()
    begun = world.steps
    if not world.execute(skill).ok:
        world.forget(before)
        return
    keyframe, took = world.picture(), world.steps - begun
    live = {"no motion": start, "carried out": _nudged(world, skill, rng)}
    world.restore(before)
    others = [s for s in world.legal_skills() if s != skill and s.object != skill.object]
    if others and world.execute(others[int(rng.integers(len(others)))]).ok:
        live["wrong object"] = world.picture()
    world.restore(before)
    if displaced(world, rng):
        live["disturbance"] = world.picture()
    world.restore(before)
    live["arm in view"] = _half_way(world, skill, round(took * rng.uniform(0.25, 0.75)))
    world.restore(before)
    world.forget(before)
    for case, picture in live.items():
        yield Sample(
            family, case, compare(seen_by_camera(picture, rng), seen_by_camera(start, rng), keyframe)
        )


def _nudged(world: World, skill: Skill, rng: np.random.Generator) -> NDArray[np.uint8]:
    """After a place the object lies up to a few millimetres beside where it was imagined."""
    if skill.verb == "place" and skill.object in world.bodies:
        _shift(world, skill.object, rng.uniform(0, _NUDGE_M), rng)
    return world.picture()


def displaced(world: World, rng: np.random.Generator) -> bool:
    """Move something free by 6 to 12 cm, as a hand would; False: there is nothing."""
    now = world.state()
    free = [i.name for i in world.scene.items if now.top(i.name) == i.name and now.held != i.name]
    if free:
        _shift(world, free[int(rng.integers(len(free)))], rng.uniform(*_DISPLACED_M), rng)
    return bool(free)


def _shift(world: World, name: str, distance_m: float, rng: np.random.Generator) -> None:
    pose, angle = world.pose(name), rng.uniform(0, 2 * np.pi)
    x, y, z = pose.position
    there = (x + distance_m * np.cos(angle), y + distance_m * np.sin(angle), z)
    world.bullet.resetBasePositionAndOrientation(world.bodies[name], there, pose.quaternion)


class _Enough(Exception):
    """The arm has come as far as it should."""


def _half_way(world: World, skill: Skill, steps: int) -> NDArray[np.uint8]:
    last = world.steps + steps

    def stop() -> None:
        if world.steps >= last:
            raise _Enough

    world.on_step = stop
    try:
        world.execute(skill)
    except _Enough:
        pass
    finally:
        world.on_step = None
    return world.picture()


def seen_by_camera(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """As a camera with noise and its own exposure sees it."""
    noisy = picture * rng.normal(1.0, _GAIN) + rng.normal(0.0, _NOISE, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
