"""Reading a picture back: which of the states that could be next does it show?

A library of states is rendered by the simulator itself, possible ones (every legal skill's outcome,
and nothing happening) and impossible ones (an object vanished, floating, swapped, shifted, twice; a
drawer ajar), and the nearest after the same blur wins. Knows pictures and skills; not who imagined the
picture, nor why.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sim import fixture_skills
from sim.scene import Pose, Receptacle, Skill
from sim.world import World

Picture = NDArray[np.uint8]

_BLUR_PX = 0.8  # sigma: about what a 16x tokenizer does to an edge
_FLOAT_M = 0.05
_SHIFT_M = 0.03
_AJAR = 0.5  # of its way
_AWAY_M = -1.0  # an item below that was taken away
_MOVED_M = 0.002  # what moves less stays
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
    # puts the world, which is where the library was made, into that state; no physics
    put: "Callable[[World], None]" = lambda _: None
    # it shows an object twice, which no pose does: `put` and `poses` have it once
    doubled: bool = False


@dataclass(frozen=True)
class Reading:
    """The nearest candidate, and how much nearer it is than the second: 0 (a tie) to 1."""

    best: Candidate
    margin: float
    # mean absolute difference to the best, grey levels, after the blur
    distance: float = 0.0


def library(world: World) -> list[Candidate]:
    """Candidates for the next picture, from the world's present state. The world is restored."""
    snapshot = world.snapshot()
    still = _poses(world)
    candidates = []
    for name, skill, possible, put in _states(world):
        put(world)
        poses = _poses(world)
        moved = tuple(item for item, pose in poses.items() if _differ(pose, still[item]))
        candidates.append(Candidate(name, skill, possible, world.picture(), poses, moved, put))
        world.restore(snapshot)
    world.forget(snapshot)
    return candidates + list(_doubled(candidates))


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


Put = Callable[[World], None]
State = tuple[str, "Skill | None", bool, Put]


def _states(world: World) -> Iterator[State]:
    """Names, skills, whether it can be, and how the world is put there, for every candidate state."""
    yield "nothing happens", None, True, lambda _: None
    for skill in world.legal_skills():
        yield str(skill), skill, True, _imagine(skill)
    for name, poses in _impossible(world):
        yield name, None, False, _pose(poses, _arm(world))
    for receptacle in world.scene.receptacles:
        if receptacle.opens:
            yield f"{receptacle.name} ajar", None, False, _ajar(receptacle, _arm(world))


def _imagine(skill: Skill) -> Put:
    return lambda world: world.imagine(skill)


def _pose(poses: Mapping[str, Pose | None], arm: str) -> Put:
    return lambda world: world.pose_state(poses, arm=arm)


def _ajar(receptacle: Receptacle, arm: str) -> Put:
    def put(world: World) -> None:
        poses = fixture_skills.carried(world, receptacle, _AJAR)
        world.pose_state(poses, arm=arm, parts={receptacle.name: _AJAR})

    return put


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


def _doubled(candidates: list[Candidate]) -> Iterator[Candidate]:
    """Where a skill moves one object: it, where it was and where it goes; one picture pasted into another."""
    before = candidates[0]
    gone = {c.moved[0]: c.picture for c in candidates if c.name.endswith(" vanished")}
    for after in candidates:
        if after.skill is None or len(after.moved) != 1 or after.moved[0] not in gone:
            continue
        (name,) = after.moved
        own = np.abs(before.picture.astype(np.int16) - gone[name]).max(axis=2, keepdims=True) > _OWN_LEVEL
        both = np.where(own, before.picture, after.picture)
        told = f"{name} twice after {after.skill}"
        yield Candidate(told, None, False, both, after.poses, after.moved, after.put, doubled=True)


def _poses(world: World) -> dict[str, Pose | None]:
    """Where every item is; None: taken away."""
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    return {name: pose if pose.position[2] > _AWAY_M else None for name, pose in poses.items()}


def _differ(one: Pose | None, other: Pose | None) -> bool:
    if one is None or other is None:
        return one is not other
    return math.dist(one.position, other.position) > _MOVED_M


def _arm(world: World) -> str:
    return "home" if world.state().held is None else "carry"


def blur(picture: Picture) -> NDArray[np.float32]:
    """The picture as it is compared: softened like by a tokenizer, float32."""
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _BLUR_PX), np.float32)
