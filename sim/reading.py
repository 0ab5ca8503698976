"""Reading a picture back: which of the states that could be next does it show?

A library of states is rendered by the simulator itself, possible ones (every legal skill's outcome,
and nothing happening) and impossible ones (an object vanished, floating, swapped, shifted, twice), and the
nearest after the same blur wins. Knows pictures and skills; not who imagined the picture, nor why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.scene import Pose, Skill
from sim.world import World

Picture = NDArray[np.uint8]

_BLUR_PX = 0.8  # sigma: about what a 16x tokenizer does to an edge
_FLOAT_M = 0.05
_SHIFT_M = 0.03
_OWN_LEVEL = 24  # grey levels: a pixel that changes by more when an item vanishes shows the item


@dataclass(frozen=True)
class Candidate:
    """A state that a picture may show: its name, the skill that leads there, and its render."""

    name: str
    # None: nothing happens, or no skill leads there
    skill: Skill | None
    possible: bool
    picture: Picture
    # where every item is in that state; None: nowhere
    poses: Mapping[str, Pose | None] = field(default_factory=dict)
    # the items that are not where they were
    moved: tuple[str, ...] = ()
    # the skill whose outcome it is painted over, for a state that cannot be posed
    over: Skill | None = None


@dataclass(frozen=True)
class Reading:
    """The nearest candidate, and how much nearer it is than the second: 0 (a tie) to 1."""

    best: Candidate
    margin: float
    # mean absolute difference to the best, grey levels, after the blur
    distance: float = 0.0


def library(world: World) -> list[Candidate]:
    """Candidates for the next picture, from the world's present state. The world is restored."""
    still = _poses(world)
    candidates = [Candidate("nothing happens", None, True, world.picture(), still)]
    snapshot = world.snapshot()
    for skill in world.legal_skills():
        world.imagine(skill)
        candidates.append(Candidate(str(skill), skill, True, world.picture(), _poses(world), (skill.object,)))
        world.restore(snapshot)
    for name, poses in _impossible(world):
        world.pose_state(poses, arm=_arm(world))
        candidates.append(Candidate(name, None, False, world.picture(), {**still, **poses}, tuple(poses)))
        world.restore(snapshot)
    world.forget(snapshot)
    return candidates + list(_doubled(candidates))


def pose_candidate(world: World, candidate: Candidate) -> None:
    """Put the world, which is where the library was made, into a candidate's state; no physics."""
    skill = candidate.skill or candidate.over
    if skill is not None:
        world.imagine(skill)
    elif candidate.moved:
        world.pose_state({name: candidate.poses[name] for name in candidate.moved}, arm=_arm(world))


def read_picture(picture: Picture, candidates: list[Candidate]) -> Reading:
    """The candidate whose picture is nearest, by mean absolute difference after a blur.

    Args:
        picture: [H, W, 3] uint8, the size of the candidates' pictures.

    Raises:
        ValueError: another size.
    """
    if picture.shape != candidates[0].picture.shape:
        raise ValueError(f"picture is {picture.shape}, expected {candidates[0].picture.shape}")
    blurred = blur(picture)
    distances = [float(np.abs(blurred - blur(c.picture)).mean()) for c in candidates]
    order = np.argsort(distances)
    best, second = distances[order[0]], distances[order[1]]
    margin = (second - best) / (second + best) if second + best > 0 else 0.0
    return Reading(candidates[order[0]], margin, best)


def _impossible(world: World) -> Iterator[tuple[str, Mapping[str, Pose | None]]]:
    """Counterfactual states: names, and the poses that make them."""
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    names = list(poses)
    for name in names:
        x, y, z = poses[name].position
        turn = poses[name].quaternion
        yield f"{name} vanished", {name: None}
        yield f"{name} floats", {name: Pose((x, y, z + _FLOAT_M), turn)}
        yield f"{name} shifted", {name: Pose((x, y + _SHIFT_M, z), turn)}
    for first, second in pairwise(names):
        yield f"{first} and {second} swapped", {first: poses[second], second: poses[first]}


def _doubled(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Each skill's object both where it was and where it goes: one picture pasted into the other."""
    before = candidates[0]
    gone = {c.moved[0]: c.picture for c in candidates if c.name.endswith(" vanished")}
    for after in candidates:
        if after.skill is None:
            continue
        name = after.skill.object
        own = np.abs(before.picture.astype(np.int16) - gone[name]).max(axis=2, keepdims=True) > _OWN_LEVEL
        both = np.where(own, before.picture, after.picture)
        yield Candidate(
            f"{name} twice after {after.skill}", None, False, both, after.poses, (name,), after.skill
        )


def _poses(world: World) -> dict[str, Pose | None]:
    return {item.name: world.pose(item.name) for item in world.scene.items}


def _arm(world: World) -> str:
    return "home" if world.state().held is None else "carry"


def blur(picture: Picture) -> NDArray[np.float32]:
    """The picture as it is compared: softened like by a tokenizer, float32."""
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _BLUR_PX), np.float32)
