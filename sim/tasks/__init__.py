"""The task families: one file each, one registry. A task draws a scene and judges a state."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from sim import language, robots
from sim.camera import draw_look
from sim.layout import Layout, NoRoomError
from sim.scene import BENCHMARK_FIRST_SEED, TALLEST, UNSEEN_COLOURS, Goal, Scene
from sim.state import SymbolicState, satisfied
from sim.tasks import (
    between,
    button,
    cabinet_get,
    cabinet_put,
    chain,
    container,
    drawer_get,
    drawer_put,
    empty,
    held_out,
    kinds,
    kitchen,
    order,
    push,
    push_place,
    pyramid,
    relate,
    restore,
    row,
    sort,
    stack,
    swap,
    unstack,
    zone,
)

# What a family's draw returns: a form of the grammar with its slots, or several for one sentence
Drawn = language.Request | list[language.Request]


@dataclass(frozen=True)
class Family:
    """One kind of task: its contract is the docstring of its module."""

    name: str
    # which of GROUPS it belongs to
    group: str
    # draws the objects; returns the instruction's form and its slots
    draw: Callable[[Layout], Drawn]
    contract: str


def _family(group: str, module: ModuleType) -> Family:
    name = module.__name__.rpartition(".")[2]
    return Family(name, group, module.draw, module.__doc__ or "")


GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "stacking": (stack, order, pyramid, unstack),
    "containers": (container, empty, swap),
    "sorting": (sort, kinds, zone, relate, between, row),
    "parts": (drawer_put, drawer_get, cabinet_put, cabinet_get, button),
    "pushing": (push, push_place),
    "long": (chain, kitchen, restore),
}

FAMILIES: dict[str, Family] = {
    family.name: family
    for group, modules in GROUPS.items()
    for family in (_family(group, module) for module in modules)
}

# The families of the first data sets, in their order: what is written when nothing else is asked for
FIRST = ("stack", "container", "sort", "zone")

# Robots that can lead a knob and push a crate: see sim/motion.py
LEADERS = ("panda", "xarm")
_LED = {family.name for family in FAMILIES.values() if family.group in ("parts", "pushing")} | {"kitchen"}

# Families whose words speak of how the scene was at first: nothing may be moved before they are said
FIRST_COUNTS = ("empty", "swap", "restore")


def robots_for(family: str) -> tuple[str, ...]:
    """The robots that can do a family: knobs and crates are beyond a suction cup and a driving base."""
    return LEADERS if family in _LED else tuple(robots.ROBOTS)


def trained_robots(family: str) -> tuple[str, ...]:
    """Those that training has do it: see sim/tasks/held_out.py for the pairs that are left out."""
    return tuple(robot for robot in robots_for(family) if (robot, family) not in held_out.PAIRS)


def like(family: str, seed: int) -> str:
    """The family itself; of a held-out one the family that the scene of this seed is like."""
    return held_out.like(family, seed, tuple(FAMILIES)) if family in held_out.HELD_OUT else family


def chosen(word: str) -> tuple[str, ...]:
    """The families that a command's word asks for: "all", a group, or names with commas.

    Raises:
        ValueError: no such family.
    """
    if word == "all":
        return tuple(FAMILIES)
    names: list[str] = []
    for name in word.split(","):
        if name in GROUPS:
            names += [family.name for family in FAMILIES.values() if family.group == name]
        elif name in FAMILIES:
            names.append(name)
        else:
            raise ValueError(
                f"unknown family {name!r}; expected all, groups ({', '.join(GROUPS)}) "
                f"or families ({', '.join(FAMILIES)})"
            )
    return tuple(dict.fromkeys(names))


def generator(family: str, seed: int, purpose: str = "scene") -> np.random.Generator:
    """The random generator of a scene, or of another purpose with the same scene."""
    word = hashlib.sha256(f"{family}/{purpose}".encode()).digest()[:8]
    return np.random.default_rng([int.from_bytes(word, "little"), seed])


def make_scene(family: str, seed: int, robot: str = robots.DEFAULT) -> Scene:
    """The scene of a family, a seed and a robot, the same in every process.

    What is drawn does not depend on the robot: every robot reaches every place of a layout.

    Raises:
        ValueError: unknown family or robot, negative seed, or a training seed of a held-out family.
    """
    if family not in FAMILIES and family not in held_out.HELD_OUT:
        raise ValueError(f"unknown family {family!r}; expected one of {list(FAMILIES)}")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; expected 0 or more")
    if family in held_out.HELD_OUT and seed < BENCHMARK_FIRST_SEED:
        raise ValueError(f"{family} is held out from training; its seeds begin at {BENCHMARK_FIRST_SEED}")
    rng = generator(family, seed)
    draw, first = _draw_of(family, seed), tuple(UNSEEN_COLOURS) if family == "new_colours" else ()
    while True:
        layout = Layout(rng, first)
        try:
            drawn = draw(layout)
        except NoRoomError:
            continue
        break
    look = draw_look(rng)
    requests = drawn if isinstance(drawn, list) else [drawn]
    forms = {"new_words": language.UNSEEN, "new_heights": language.MEANINGS}.get(family, language.FORMS)
    if isinstance(drawn, list):
        words = language.word_chain(requests, rng, forms)
    else:
        words = language.word_instruction(*drawn, rng, forms)
    scene = Scene(
        family,
        seed,
        robots.known(robot),
        tuple(layout.items),
        tuple(layout.receptacles),
        look,
        Goal(()),
        words,
        tuple(layout.buttons),
        layout.relations,
        held_out.TALLEST if family == "new_heights" else TALLEST,
    )
    goals = [language.goal_of(form, slots, scene) for form, slots in requests]
    return replace(scene, goal=goals[0] if len(goals) == 1 else language.chain_goal(goals))


def _draw_of(family: str, seed: int) -> Callable[[Layout], Drawn]:
    if family in held_out.OWN:
        own = held_out.OWN[family]
        return own[seed % len(own)][1]
    return FAMILIES[like(family, seed)].draw


def success(scene: Scene, state: SymbolicState, goal: Goal | None = None) -> dict[str, bool]:
    """Named conditions of a goal (default: the scene's); the task is done when all are true."""
    goal = goal or scene.goal
    named = {f"{f.object} {f.relation} {f.target}".strip(): satisfied(state, f) for f in goal.facts}
    for index, stage in enumerate(goal.stages):
        told = " and ".join(f"{f.object} {f.relation} {f.target}".strip() for f in stage)
        named[f"before: {told}"] = state.stage > index
    wanted = {fact.object for fact in goal.facts}
    for receptacle in goal.exclusive:
        strangers = [name for name in state.inside(receptacle) if name not in wanted]
        named[f"only its own in {receptacle}"] = not strangers
    named["gripper empty"] = state.held is None and not state.touched
    named["all at rest"] = all(f.relation in ("on", "in") for f in state.where)
    return named
