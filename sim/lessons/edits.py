"""Was a picture edited as asked? The nearest of many edits tells, all made by the simulator.

Right are all that the words allow: a relation leaves room, what is new may be turned anyhow. Wrong are
other colours, kinds, objects and places, and nothing at all. The nearest right one must be nearer than
each wrong one, and nearer than half the way back to the picture before.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.language.lessons.x2i import Edit
from sim.layout import KINDS, NoRoomError
from sim.lessons import tables
from sim.lessons.lesson import Lesson, Picture
from sim.lessons.x2i import apply
from sim.reading import blur
from sim.relations import DIRECTIONS
from sim.scene import COLOURS, Item, Scene
from sim.world import World

# m: places that a relation allows, see sim/relations.py
_ALONG = (0.060, 0.075, 0.090, 0.105, 0.120, 0.133)
_ACROSS = (-0.025, -0.012, 0.0, 0.012, 0.025)
_YAWS = tuple(math.radians(degrees) for degrees in range(0, 90, 15))
_OWN_LEVEL = 24  # grey levels: a pixel that changes by more belongs to the edit
_EDGE_PX = 5  # around the edit that is no background


def judge(world: World, lesson: Lesson, picture: Picture, seen: Picture | None = None) -> tuple[bool, float]:
    """Whether the edit is right, and the PSNR of the background against the picture before, dB.

    Args:
        seen: the picture before as the painter saw it; None: the true one.
    """
    judgement = _Judgement(world, lesson, picture)
    right, best = judgement.is_right()
    before = lesson.pictures[0]
    changed = _changed(before, lesson.pictures[-1]) | _changed(before, best)
    side = 2 * _EDGE_PX + 1
    kept = cv2.dilate(changed.astype(np.uint8), np.ones((side, side), np.uint8)) == 0
    return right, psnr(picture, before if seen is None else seen, kept)


def psnr(one: Picture, other: Picture, where: NDArray[np.bool_]) -> float:
    """Peak signal to noise ratio, dB, of the pixels in a mask [H, W]; inf: equal."""
    error = float(((one.astype(np.float64) - other) ** 2)[where].mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


class _Judgement:
    """One picture against the edits of one scene."""

    def __init__(self, world: World, lesson: Lesson, picture: Picture) -> None:
        self.world, self.lesson = world, lesson
        self.seen = blur(picture)
        self.before, self.after = lesson.scenes[0], lesson.scenes[-1]
        self.edit = Edit(**lesson.asked)

    def is_right(self) -> tuple[bool, Picture]:
        """The verdict, and the nearest picture that would be right."""
        nearest, scene, best = math.inf, self.after, self.lesson.pictures[-1]
        for right in self._right():
            rendered = self._render(right)
            if (distance := self._distance(rendered)) < nearest:
                nearest, scene, best = distance, right, rendered
        new = self._new(scene)
        if new is not None and self.edit.verb != "move":
            for yaw in _YAWS:
                turned = tables.with_item(scene, replace(new, yaw=yaw), new.name)
                rendered = self._render(turned)
                if (distance := self._distance(rendered)) < nearest:
                    nearest, best = distance, rendered
        changed = _changed(self.lesson.pictures[0], best)
        if not changed.any():
            return False, best
        away = np.abs(blur(self.lesson.pictures[0]) - blur(best))[changed].mean()
        if np.abs(self.seen - blur(best))[changed].mean() >= away / 2:
            return False, best
        return all(self._distance(self._render(wrong)) > nearest for wrong in self._wrong(scene)), best

    def _distance(self, rendered: Picture) -> float:
        return float(np.abs(self.seen - blur(rendered)).mean())

    def _render(self, scene: Scene) -> Picture:
        self.world.build(scene)
        return self.world.picture()

    def _new(self, scene: Scene) -> Item | None:
        """The item that the edit put or changed; None: it was removed."""
        colour = self.edit.new
        name = {
            "remove": "",
            "move": self.edit.object,
            "recolour": f"{colour} {self.edit.object.rpartition(' ')[2]}",
        }.get(self.edit.verb.removesuffix(" seen"), self.edit.new)
        return scene.item(name) if name else None

    def _right(self) -> Iterator[Scene]:
        """Every scene that the words allow; what is new as it was drawn."""
        yield self.after
        new = self._new(self.after)
        if new is None or not self.edit.relation:
            return
        if self.edit.relation == "in":
            where = self.after.receptacle(self.edit.target)
            assert where is not None
            spots = [where.slot(index) for index in range(where.slots)]
        elif self.edit.relation in DIRECTIONS:
            target, (dx, dy) = self.after.item(self.edit.target), DIRECTIONS[self.edit.relation]
            spots = [
                (target.x + u * dx - v * dy, target.y + u * dy + v * dx) for u in _ALONG for v in _ACROSS
            ]
        else:
            return
        others = [item for item in self.after.items if item.name != new.name]
        for x, y in spots:
            if all(math.hypot(x - o.x, y - o.y) >= 0.05 for o in others):
                yield tables.with_item(self.after, replace(new, x=x, y=y), new.name)

    def _wrong(self, right: Scene) -> Iterator[Scene]:
        """What was not asked for; `right` is the nearest scene that was."""
        yield self.before
        new = self._new(right)
        if new is None:
            yield from (tables.without(self.before, item.name) for item in self._others())
            return
        yield tables.without(right, new.name)
        for colour in COLOURS:
            if colour != new.colour:
                yield tables.with_item(right, replace(new, colour=colour), new.name)
        other = KINDS[1 - KINDS.index(new.kind)]
        yaws = _YAWS if other == "block" else (0.0,)
        for yaw in yaws:
            yield tables.with_item(right, replace(new, kind=other, yaw=yaw), new.name)
        yield from self._elsewhere()

    def _elsewhere(self) -> Iterator[Scene]:
        """The same done to another object, or in another place."""
        rng = np.random.default_rng(0)
        edits = []
        if self.edit.relation:
            edits += [replace(self.edit, relation=r) for r in DIRECTIONS if r != self.edit.relation]
        if self.edit.object:
            edits += [replace(self.edit, object=item.name) for item in self._others()]
        for edit in edits:
            try:
                yield apply(self.before, edit, rng)
            except (NoRoomError, KeyError):
                continue

    def _others(self) -> list[Item]:
        return [item for item in self.before.items if item.name not in (self.edit.object, self.edit.target)]


def _changed(one: Picture, other: Picture) -> NDArray[np.bool_]:
    return np.asarray(np.abs(one.astype(np.int16) - other).max(axis=2) > _OWN_LEVEL)
