"""The task families: one file each, one registry. A task draws a scene and judges a state."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from sim import language, robots
from sim.camera import draw_look
from sim.layout import Layout, NoRoomError
from sim.scene import Goal, Scene
from sim.state import SymbolicState, satisfied
from sim.tasks import container, sort, stack, zone


@dataclass(frozen=True)
class Family:
    """One kind of task: its contract is the docstring of its module."""

    name: str
    # draws the objects; returns the instruction's form and its slots
    draw: Callable[[Layout], tuple[str, dict[str, str]]]
    contract: str


def _family(name: str, module: ModuleType) -> Family:
    return Family(name, module.draw, module.__doc__ or "")


FAMILIES: dict[str, Family] = {
    name: _family(name, module)
    for name, module in (("stack", stack), ("container", container), ("sort", sort), ("zone", zone))
}


def generator(family: str, seed: int, purpose: str = "scene") -> np.random.Generator:
    """The random generator of a scene, or of another purpose with the same scene."""
    word = hashlib.sha256(f"{family}/{purpose}".encode()).digest()[:8]
    return np.random.default_rng([int.from_bytes(word, "little"), seed])


def make_scene(family: str, seed: int, robot: str = robots.DEFAULT) -> Scene:
    """The scene of a family, a seed and a robot, the same in every process.

    What is drawn does not depend on the robot: every robot reaches every place of a layout.

    Raises:
        ValueError: unknown family or robot, or negative seed.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; expected one of {list(FAMILIES)}")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; expected 0 or more")
    rng = generator(family, seed)
    while True:
        layout = Layout(rng)
        try:
            form, slots = FAMILIES[family].draw(layout)
        except NoRoomError:
            continue
        break
    scene = Scene(
        family,
        seed,
        robots.known(robot),
        tuple(layout.items),
        tuple(layout.receptacles),
        draw_look(rng),
        Goal(()),
        language.word_instruction(form, slots, rng),
    )
    return replace(scene, goal=language.goal_of(form, slots, scene))


def success(scene: Scene, state: SymbolicState, goal: Goal | None = None) -> dict[str, bool]:
    """Named conditions of a goal (default: the scene's); the task is done when all are true."""
    goal = goal or scene.goal
    named = {f"{f.object} {f.relation} {f.target}": satisfied(state, f) for f in goal.facts}
    wanted = {fact.object for fact in goal.facts}
    for receptacle in goal.exclusive:
        strangers = [name for name in state.inside(receptacle) if name not in wanted]
        named[f"only its own in {receptacle}"] = not strangers
    named["gripper empty"] = state.held is None and not state.touched
    named["all at rest"] = all(f.relation in ("on", "in") for f in state.where)
    return named
