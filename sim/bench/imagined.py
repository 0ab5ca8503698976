"""What a keyframe shows, in metres and objects: read, refined, counted, and tried out in physics.

Reading names the nearest candidate state (sim/reading.py). Here its moved object is fitted to the
pixels, every object is looked for in its own pixels, and the whole is put into the simulator to see
whether it stays. Knows the picture and the real state before it; neither the words nor who drew it.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.bench.trail import Picture, Skills, Trail
from sim.reading import Candidate, blur, read_picture
from sim.scene import Pose, Skill
from sim.world import World

# mean grey levels from the nearest candidate beyond which a picture shows no state at all
UNREADABLE_LEVEL = 20.0
# grey levels by which a pixel must change when an object goes, to belong to the object
OWN_LEVEL = 24
# an object that shows fewer pixels of its own is excused
FEWEST_PX = 6
_SAME_LEVEL = 8  # grey levels: pixels that change less between two real pictures stand still
_ERODE_PX = 2
_EXACT_LEVEL = 1.5  # mean grey levels around the object below which nothing is fitted
_ROUNDS = 3  # of a fit
_NUDGE_M = 0.008  # by which slopes are measured
_SOFT_PX = 2.5  # sigma: how far a fit sees
_FURTHEST_M = 0.03  # a fit along one axis; further off it is another state
# an object further than this from where a skill puts it is not where the skill puts it
OUTCOME_M = 0.02
# grey levels, and the side of a square in pixels that differs by so much throughout, from which a blob in
# what stands still is something that should not be there; an edge drawn 2 px off is none
STRAY_LEVEL = 60
STRAY_PX = 5
_WORTH = 0.9  # a fit must bring the difference down to this share, or it is noise
_AWAY = Pose.upright(0.0, 0.0, -5.0)
_SETTLE_STEPS = 48  # 0.2 s: a free fall of 0.2 m


@dataclass(frozen=True)
class Imagined:
    """A keyframe as a state. A picture that shows no state has no objects and is infinitely far."""

    # the candidate's name, or "nothing that could be"
    name: str
    # the skill that leads there; None: none does, or its object is not seen at its end
    skill: Skill | None
    readable: bool
    # mean grey levels to the candidate, and how much nearer it is than the second, 0 to 1
    distance_level: float
    margin: float
    # where the moved object is, against the candidate, m
    offset_m: tuple[float, float, float]
    # objects that the picture shows, or need not show, once each; of how many
    found: tuple[str, ...]
    objects: int
    # blobs in what should stand still: a second one of an object, or one that moved by itself
    strays: int
    # furthest that an object moves when physics takes over, m
    settle_m: float
    # largest displacement of an object from the nearest state that can be next, m
    feasible_m: float
    # mean grey levels where nothing should change
    background_level: float


def imagine(trail: Trail, skills: Skills, rgb: Picture, shown: Picture) -> Imagined:
    """Read a keyframe that was imagined from the state after these skills.

    Args:
        rgb: [H, W, 3] uint8, the size of the world's pictures.
        shown: the real picture before, as the planner's tokenizer gives it back.
    """
    digest = hashlib.sha1(rgb.tobytes() + shown.tobytes(), usedforsecurity=False).digest()
    key = ("imagined", skills, digest)
    if key not in trail.memory:
        trail.memory[key] = _imagine(trail, skills, rgb, shown)
    value = trail.memory[key]
    assert isinstance(value, Imagined)
    return value


def _imagine(trail: Trail, skills: Skills, rgb: Picture, shown: Picture) -> Imagined:
    candidates = trail.library(skills)
    reading = read_picture(rgb, candidates)
    best = reading.best
    still = _still(trail.at(skills).picture, best.picture)
    background = float(np.abs(rgb.astype(np.int16) - shown)[still].mean()) if still.any() else 0.0
    objects = len(trail.scene.items)
    if reading.distance > UNREADABLE_LEVEL:
        return Imagined(
            "nothing that could be", None, False, reading.distance, reading.margin, (0.0, 0.0, 0.0),
            (), objects, 0, math.inf, math.inf, background,
        )  # fmt: skip
    fit = Fit(trail, skills, best, rgb)
    offset, with_moved = fit.refine()
    poses = _shifted(best, offset)
    found = tuple(name for name in poses if fit.shows(name, with_moved))
    if best.doubled:
        # twice there is not there once
        found = tuple(name for name in found if name not in best.moved)
    missing = len(found) < objects or not all(poses.values())
    return Imagined(
        best.name,
        best.skill if _happens(fit, found, offset, with_moved) else None,
        readable=True,
        distance_level=reading.distance,
        margin=reading.margin,
        offset_m=offset,
        found=found,
        objects=objects,
        strays=_strays(still, rgb, shown),
        settle_m=math.inf if missing else fit.settle(offset),
        feasible_m=math.inf
        if missing
        else min(displacement(poses, candidate.poses) for candidate in candidates if candidate.possible),
        background_level=background,
    )


def _happens(
    fit: "Fit", found: tuple[str, ...], offset: tuple[float, float, float], with_moved: Picture
) -> bool:
    """Whether the candidate's skill is what the keyframe shows.

    What it moves is seen, near where it goes; and where its outcome differs from the picture before the
    step, and from the plan's first picture, the keyframe is nearer to the outcome than half the way back.
    """
    if not set(fit.candidate.moved) <= set(found) or math.hypot(*offset) > OUTCOME_M:
        return False
    before = fit.trail.at(fit.skills).picture
    return (
        bool(_differs(with_moved, before).any())
        and fit.is_away_from(before, with_moved)
        and fit.is_away_from(fit.trail.at(()).picture, with_moved)
    )


def _still(before: Picture, after: Picture) -> NDArray[np.bool_]:
    """Pixels that a step leaves as they are, [H, W], a little less at their edge."""
    still = np.abs(before.astype(np.int16) - after).max(axis=2) <= _SAME_LEVEL
    side = 2 * _ERODE_PX + 1
    return cv2.erode(still.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def _strays(still: NDArray[np.bool_], rgb: Picture, shown: Picture) -> int:
    """Blobs of what stands still that look quite different from what was there."""
    differs = (np.abs(blur(rgb) - blur(shown)).max(axis=2) > STRAY_LEVEL) & still
    return int(cv2.connectedComponents(_solid(differs))[0]) - 1


def _solid(region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What of a region is as wide as a square of STRAY_PX, as 0 and 1."""
    square = np.ones((STRAY_PX, STRAY_PX), np.uint8)
    return np.asarray(cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, square), np.uint8)


def _shifted(candidate: Candidate, offset: tuple[float, float, float]) -> dict[str, Pose | None]:
    poses = dict(candidate.poses)
    if any(offset):
        (name,) = candidate.moved
        poses[name] = _move(poses[name], offset)
    return poses


def _move(pose: Pose | None, offset: tuple[float, float, float]) -> Pose:
    assert pose is not None
    x, y, z = (a + b for a, b in zip(pose.position, offset, strict=True))
    return Pose((x, y, z), pose.quaternion)


def displacement(one: Mapping[str, Pose | None], other: Mapping[str, Pose | None]) -> float:
    """Largest distance of an object between two states, m; an object that one lacks is left out."""
    pairs = [(pose, other[name]) for name, pose in one.items()]
    return max((math.dist(a.position, b.position) for a, b in pairs if a and b), default=0.0)


class Fit:
    """One candidate against one picture, in the simulator."""

    def __init__(self, trail: Trail, skills: Skills, candidate: Candidate, rgb: Picture) -> None:
        self.trail, self.skills, self.candidate = trail, skills, candidate
        self.rgb, self.seen = rgb, blur(rgb)

    def refine(self) -> tuple[tuple[float, float, float], Picture]:
        """Offset of the moved object that fits best, and the picture with it there.

        Gauss-Newton on the softened pixels around the object, with slopes by finite differences that
        are rendered once a candidate; each new offset is rendered, and kept only if it is nearer.
        """
        none, start = (0.0, 0.0, 0.0), self.candidate.picture
        name = self.candidate.moved[0] if len(self.candidate.moved) == 1 else ""
        if self.candidate.poses.get(name) is None or self.candidate.doubled:
            return none, start
        own = _differs(start, self._without(name))
        around = cv2.dilate(own.astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool)
        if own.sum() < FEWEST_PX or (first := self.error(start, around)) < _EXACT_LEVEL:
            return none, start
        slopes = self._slopes(name, around)
        best, offset, picture = first, none, start
        for _ in range(_ROUNDS):
            apart = (_soft(self.rgb) - _soft(picture))[around].ravel()
            stride = np.linalg.lstsq(slopes.T, apart, rcond=None)[0]
            x, y, z = np.clip(np.array(offset) + stride, -_FURTHEST_M, _FURTHEST_M)
            trial = (float(x), float(y), float(z))
            shown = self.render(name, trial)
            error = self.error(shown, around)
            if error >= best:
                break
            best, offset, picture = error, trial, shown
        return (offset, picture) if best <= _WORTH * first else (none, start)

    def _slopes(self, name: str, around: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Change of the softened pixels with the object's x, y and z, [3, pixels x 3], levels per m."""
        key = ("slopes", self.skills, self.candidate.name)
        if key not in self.trail.memory:
            still = _soft(self.candidate.picture)[around].ravel()
            shifts = np.eye(3) * _NUDGE_M
            self.trail.memory[key] = np.stack(
                [
                    (_soft(self.render(name, (float(x), float(y), float(z))))[around].ravel() - still)
                    / _NUDGE_M
                    for x, y, z in shifts
                ]
            )
        value = self.trail.memory[key]
        assert isinstance(value, np.ndarray)
        return value

    def shows(self, name: str, with_moved: Picture) -> bool:
        """Whether an object is seen where the state has it, or need not be: too few pixels there.

        Seen: in its own pixels the keyframe is nearer to the picture with it than half the way to
        the picture without it.
        """
        if self.candidate.poses[name] is None:
            return False
        whole = with_moved if name in self.candidate.moved else self.candidate.picture
        without = self._without(name)
        own = _differs(whole, without)
        if own.sum() < FEWEST_PX:
            return True
        contrast = float(np.abs(blur(whole) - blur(without))[own].mean())
        return self.error(whole, own) < contrast / 2

    def is_away_from(self, other: Picture, outcome: Picture) -> bool:
        """Whether the keyframe is nearer to an outcome than half the way to another picture."""
        changed = _differs(outcome, other)
        if not _solid(changed).any():
            # edges only: the step brought back what was
            return True
        contrast = float(np.abs(blur(outcome) - blur(other))[changed].mean())
        return self.error(outcome, changed) < contrast / 2

    def settle(self, offset: tuple[float, float, float]) -> float:
        """How far the state is from rest: the largest movement in 0.2 s of physics, m.

        What the gripper holds is taken out first; it counts with its offset from the gripper.
        """
        key = ("settle", self.skills, self.candidate.name, offset)
        if key not in self.trail.memory:
            self.trail.memory[key] = self._settle(offset)
        value = self.trail.memory[key]
        assert isinstance(value, float)
        return value

    def _settle(self, offset: tuple[float, float, float]) -> float:
        world = self.trail.world
        self._pose((0.0, 0.0, 0.0))
        held = world.state().held
        self._pose(offset)
        before = {i.name: world.pose(i.name).position for i in world.scene.items if i.name != held}
        moved = math.hypot(*offset) if held in self.candidate.moved else 0.0
        if held is not None:
            _put(world, held, _AWAY)
        world.forget_contacts()
        for _ in range(_SETTLE_STEPS):
            world.step()
        after = {name: world.pose(name).position for name in before}
        self.trail.go(self.skills)
        return max([moved, *(math.dist(before[name], after[name]) for name in before)])

    def error(self, picture: Picture, region: NDArray[np.bool_]) -> float:
        """Mean grey levels between the keyframe and a picture in a region, after the blur."""
        return float(np.abs(self.seen - blur(picture))[region].mean())

    def _without(self, name: str) -> Picture:
        """The candidate's picture without one object; rendered once."""
        key = ("without", self.skills, self.candidate.name, name)
        if key not in self.trail.memory:
            self._pose((0.0, 0.0, 0.0))
            _put(self.trail.world, name, _AWAY)
            self.trail.memory[key] = self.trail.world.picture()
            self.trail.go(self.skills)
        value = self.trail.memory[key]
        assert isinstance(value, np.ndarray)
        return value

    def render(self, name: str, offset: tuple[float, float, float]) -> Picture:
        """The candidate's picture with one object moved, m."""
        self._pose((0.0, 0.0, 0.0))
        _put(self.trail.world, name, _move(self.candidate.poses[name], offset))
        picture = self.trail.world.picture()
        self.trail.go(self.skills)
        return picture

    def _pose(self, offset: tuple[float, float, float]) -> None:
        world = self.trail.world
        self.trail.go(self.skills)
        self.candidate.put(world)
        if any(offset):
            (name,) = self.candidate.moved
            _put(world, name, _move(self.candidate.poses[name], offset))


def _soft(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SOFT_PX), np.float32)


def _differs(one: Picture, other: Picture) -> NDArray[np.bool_]:
    return np.asarray(np.abs(one.astype(np.int16) - other).max(axis=2) > OWN_LEVEL)


def _put(world: World, name: str, pose: Pose) -> None:
    world.bullet.resetBasePositionAndOrientation(world.bodies[name], pose.position, pose.quaternion)
    world.bullet.resetBaseVelocity(world.bodies[name], (0, 0, 0), (0, 0, 0))
