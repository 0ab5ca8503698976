"""Reading a picture back: which of the states that could be next does it show?

A library of states is rendered by the simulator itself, possible ones (every legal skill's outcome,
and nothing happening) and impossible ones (an object vanished, floating, swapped, shifted; a drawer
ajar), and the nearest after the same blur wins. Knows pictures and skills; not who imagined the
picture, nor why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sim import fixture_skills
from sim.scene import Pose, Skill
from sim.world import World

Picture = NDArray[np.uint8]

_BLUR_PX = 0.8  # sigma: about what a 16x tokenizer does to an edge
_FLOAT_M = 0.05
_SHIFT_M = 0.03
_AJAR = 0.5  # of its way


@dataclass(frozen=True)
class Candidate:
    """A state that a picture may show: its name, the skill that leads there, and its render."""

    name: str
    # None: nothing happens, or no skill leads there
    skill: Skill | None
    possible: bool
    picture: Picture


@dataclass(frozen=True)
class Reading:
    """The nearest candidate, and how much nearer it is than the second: 0 (a tie) to 1."""

    best: Candidate
    margin: float


def library(world: World) -> list[Candidate]:
    """Candidates for the next picture, from the world's present state. The world is restored."""
    candidates = [Candidate("nothing happens", None, True, world.picture())]
    snapshot = world.snapshot()
    for skill in world.legal_skills():
        world.imagine(skill)
        candidates.append(Candidate(str(skill), skill, True, world.picture()))
        world.restore(snapshot)
    for name, poses in _impossible(world):
        world.pose_state(poses, arm=_arm(world))
        candidates.append(Candidate(name, None, False, world.picture()))
        world.restore(snapshot)
    for receptacle in world.scene.receptacles:
        if receptacle.opens:
            poses = fixture_skills.carried(world, receptacle, _AJAR)
            world.pose_state(poses, arm=_arm(world), parts={receptacle.name: _AJAR})
            candidates.append(Candidate(f"{receptacle.name} ajar", None, False, world.picture()))
            world.restore(snapshot)
    world.forget(snapshot)
    return candidates


def read_picture(picture: Picture, candidates: list[Candidate]) -> Reading:
    """The candidate whose picture is nearest, by mean absolute difference after a blur.

    Args:
        picture: [H, W, 3] uint8, the size of the candidates' pictures.

    Raises:
        ValueError: another size.
    """
    if picture.shape != candidates[0].picture.shape:
        raise ValueError(f"picture is {picture.shape}, expected {candidates[0].picture.shape}")
    blurred = _blur(picture)
    distances = [float(np.abs(blurred - _blur(c.picture)).mean()) for c in candidates]
    order = np.argsort(distances)
    best, second = distances[order[0]], distances[order[1]]
    margin = (second - best) / (second + best) if second + best > 0 else 0.0
    return Reading(candidates[order[0]], margin)


def _impossible(world: World) -> Iterator[tuple[str, Mapping[str, Pose | None]]]:
    """Counterfactual states of what is to be seen: names, and the poses that make them."""
    state = world.state()
    names = [item.name for item in world.scene.items if state.shut_in(item.name) is None]
    poses = {name: world.pose(name) for name in names}
    for name in names:
        x, y, z = poses[name].position
        turn = poses[name].quaternion
        yield f"{name} vanished", {name: None}
        yield f"{name} floats", {name: Pose((x, y, z + _FLOAT_M), turn)}
        yield f"{name} shifted", {name: Pose((x, y + _SHIFT_M, z), turn)}
    for first, second in pairwise(names):
        yield f"{first} and {second} swapped", {first: poses[second], second: poses[first]}


def _arm(world: World) -> str:
    return "home" if world.state().held is None else "carry"


def _blur(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _BLUR_PX), np.float32)
