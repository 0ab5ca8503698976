"""Run a task: observe, choose, act, record. The loop that the data writer and the benchmark share.

Knows no planner: a chooser is any function from the world to the next subgoal and skill.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import language, repertoire, robots, tasks
from sim.oracle import MOST_STEPS, next_skill
from sim.scene import Scene, Skill
from sim.state import SymbolicState
from sim.world import World

# A share of episodes starts after a random detour, so that recovery is in the data
DETOUR_SHARE = 0.25
_BUMP = 0.006  # m: how far a skill may move an object that it does not concern
# How an episode's steps come about: carried out by physics, or set as the skill should end
STEPS = ("executed", "imagined")


@dataclass(frozen=True)
class Taken:
    """A step that was carried out: the subgoal in words and the skill it calls."""

    subgoal: str
    skill: Skill


@dataclass(frozen=True)
class Episode:
    """What happened: pictures and states are one more than the steps."""

    scene: Scene
    # random skills before the first picture
    detour: tuple[Skill, ...]
    steps: tuple[Taken, ...]
    # [192, 384, 3] uint8 each: before each step, and after the last
    pictures: tuple[NDArray[np.uint8], ...]
    states: tuple[SymbolicState, ...]
    success: dict[str, bool]


class ImperfectError(Exception):
    """The episode went wrong on the way: a slip, a bump, or nothing left to do."""


Chooser = Callable[[World], "Taken | None"]


def oracle_chooser(scene: Scene, rng: np.random.Generator | None = None) -> Chooser:
    """Chooses the oracle's next step; words it in the first paraphrase, or in random ones."""

    def choose(world: World) -> Taken | None:
        skill = next_skill(scene.goal, world.state())
        if skill is None:
            return None
        paraphrase = 0 if rng is None else int(rng.integers(1000))
        return Taken(language.word_skill(skill, scene, paraphrase), skill)

    return choose


Actor = Callable[[World, Skill], None]


def run(world: World, choose: Chooser, do: Actor | None = None) -> Episode:
    """Act until the chooser has nothing left to do.

    Args:
        do: how a skill comes about: `act` (None) or `imagine`.

    Raises:
        ImperfectError: a skill failed or bumped into something, or there were too many steps.
    """
    do = do or act
    steps: list[Taken] = []
    pictures, states = [world.picture()], [world.state()]
    while (taken := choose(world)) is not None:
        if len(steps) == MOST_STEPS:
            raise ImperfectError(f"not done after {MOST_STEPS} steps")
        do(world, taken.skill)
        steps.append(taken)
        pictures.append(world.picture())
        states.append(world.state())
    return Episode(world.scene, (), tuple(steps), tuple(pictures), tuple(states), world.success())


def act(world: World, skill: Skill) -> None:
    """Carry out a skill and insist that it moves nothing else. Raises ImperfectError."""
    # what lies in a drawer goes with it
    concerned = {skill.object, *world.state().inside(skill.object)}
    others = [item.name for item in world.scene.items if item.name not in concerned]
    before = {name: world.pose(name).position for name in others}
    result = world.execute(skill)
    if not result.ok:
        raise ImperfectError(f"{skill}: {result.detail}")
    for name in others:
        if math.dist(before[name], world.pose(name).position) > _BUMP:
            raise ImperfectError(f"{skill} moved the {name}")


def imagine(world: World, skill: Skill) -> None:
    """Set the world as a skill should leave it, without physics: 0.2 ms where `act` takes 60.

    Raises:
        ImperfectError: the skill is not possible now.
    """
    if (reason := repertoire.why_illegal(world, skill)) is not None:
        raise ImperfectError(f"{skill}: {reason}")
    world.imagine(skill)


def record(
    world: World, family: str, seed: int, robot: str = robots.DEFAULT, *, steps: str = "executed"
) -> Episode:
    """One training or test episode: the oracle solves a scene, after a detour in some of them.

    Everything follows from (family, seed, robot, steps). Raises ImperfectError.

    Args:
        steps: one of STEPS.
    """
    do = {"executed": act, "imagined": imagine}[steps]
    scene = world.reset(family, seed, robot)
    rng = tasks.generator(family, seed, "course")
    detour: list[Skill] = []
    if rng.random() < DETOUR_SHARE and family not in tasks.FIRST_COUNTS:
        for _ in range(int(rng.integers(1, 3))):
            skill = random_skill(world, rng)
            do(world, skill)
            detour.append(skill)
    episode = run(world, oracle_chooser(scene, rng), do)
    if not all(episode.success.values()):
        failed = [name for name, true in episode.success.items() if not true]
        raise ImperfectError(f"the oracle stopped before {failed}")
    if not episode.steps:
        raise ImperfectError("the detour left nothing to do")
    return Episode(scene, tuple(detour), episode.steps, episode.pictures, episode.states, episode.success)


def random_skill(world: World, rng: np.random.Generator) -> Skill:
    """A legal skill; each kind of target or relation has the same chance."""
    options = world.legal_skills()
    kinds = sorted({_target_kind(world.scene, skill) for skill in options})
    kind = kinds[int(rng.integers(len(kinds)))]
    options = [skill for skill in options if _target_kind(world.scene, skill) == kind]
    return options[int(rng.integers(len(options)))]


def _target_kind(scene: Scene, skill: Skill) -> str:
    if skill.relation:
        return "related"
    if scene.receptacle(skill.target) is not None:
        return "receptacle"
    return "object" if skill.target in {item.name for item in scene.items} else skill.target
