"""Where everything is, in symbols, read from exact physics: height, contact, release and rest.

Reading changes nothing (no collision pass, no step), so it may be done at any time, also in a
state that was posed and never simulated. Knows no task.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.robots.base import TOUCH
from sim.scene import GRIPPER, TABLE, Fact, Item, Pose, Receptacle

if TYPE_CHECKING:
    from sim.world import World

LEVEL = 0.006  # m: how far a resting object's bottom may be from what carries it
_REST_SPEED = 0.03  # m/s
_UPRIGHT = math.cos(math.radians(8))
_SLOT_TAKEN = 0.052  # m from a slot's centre: nearer, an object blocks it


@dataclass(frozen=True)
class SymbolicState:
    """Where each object is; equal states look alike up to millimetres."""

    where: tuple[Fact, ...]
    # receptacles without a free slot
    full: tuple[str, ...] = ()
    # objects that the gripper touches while something else carries them
    touched: tuple[str, ...] = ()

    def of(self, name: str) -> Fact:
        """Where one object is; KeyError when there is none of that name."""
        for fact in self.where:
            if fact.object == name:
                return fact
        raise KeyError(f"no object {name!r}; have {[fact.object for fact in self.where]}")

    @property
    def held(self) -> str | None:
        """What the gripper holds."""
        return next((fact.object for fact in self.where if fact.relation == "held"), None)

    def above(self, name: str) -> str | None:
        """What stands on an object, or None."""
        return next((f.object for f in self.where if f.relation == "on" and f.target == name), None)

    def top(self, name: str) -> str:
        """The highest object of the pile on this one; itself when it is clear."""
        while (above := self.above(name)) is not None:
            name = above
        return name

    def inside(self, receptacle: str) -> list[str]:
        """What lies in a receptacle."""
        return [f.object for f in self.where if f.relation == "in" and f.target == receptacle]

    def level(self, name: str) -> tuple[int, str]:
        """How many objects are below, and the table or receptacle that carries them all."""
        count, fact = 0, self.of(name)
        while fact.relation == "on" and fact.target != TABLE:
            count, fact = count + 1, self.of(fact.target)
        return count, fact.target


def satisfied(state: SymbolicState, fact: Fact) -> bool:
    """Whether the fact holds, and no gripper touches the object."""
    return state.of(fact.object) == fact and fact.object not in state.touched


def read(world: "World") -> SymbolicState:
    """The symbolic state of a world."""
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    reader = _Reader(world, poses)
    where = tuple(reader.place(item) for item in world.scene.items)
    held = {fact.object for fact in where if fact.relation == "held"}
    touched = tuple(n for n in poses if n not in held and reader.touched(n))
    full = tuple(r.name for r in world.scene.receptacles if free_slot(r, poses, next(iter(held), "")) is None)
    return SymbolicState(where, full, touched)


def free_slot(receptacle: Receptacle, poses: dict[str, Pose], ignored: str = "") -> int | None:
    """The first slot that no object blocks, or None. `ignored`: the object in the gripper."""
    for index in range(receptacle.slots):
        x, y = receptacle.slot(index)
        if all(
            math.hypot(x - p.position[0], y - p.position[1]) >= _SLOT_TAKEN
            for name, p in poses.items()
            if name != ignored and p.position[2] > 0
        ):
            return index
    return None


class _Reader:
    def __init__(self, world: "World", poses: dict[str, Pose]) -> None:
        self.world, self.poses = world, poses

    def place(self, item: Item) -> Fact:
        """Where one item is."""
        name, (x, y, z) = item.name, self.poses[item.name].position
        if z < -0.02 or not (0.0 < x < 1.0 and abs(y) < 0.8):
            return Fact(name, "lost")
        support = self._support(item)
        held = self.world.robot.holds(self.world.bodies[name])
        if held and support is None and not self._touches_ground(item):
            return Fact(name, "held", GRIPPER)
        speed, spin = self.world.bullet.getBaseVelocity(self.world.bodies[name])
        if math.hypot(*speed) > _REST_SPEED or math.hypot(*spin) * item.size > 2 * _REST_SPEED:
            return Fact(name, "moving")
        if not self._upright(item):
            return Fact(name, "tipped")
        if support is not None:
            return support
        return Fact(name, "leaning" if self._touches_any(item) else "floating")

    def touched(self, name: str) -> bool:
        """Whether the gripper touches an item."""
        return self.world.robot.touches(self.world.bodies[name])

    def _support(self, item: Item) -> Fact | None:
        """What carries the item: right height, over it, and in contact."""
        x, y, z = self.poses[item.name].position
        bottom = z - item.size / 2
        for other in self.world.scene.items:
            ox, oy, oz = self.poses[other.name].position
            over = math.hypot(x - ox, y - oy) < other.size / 2
            level = over and abs(bottom - oz - other.size / 2) < LEVEL
            if other.name != item.name and level and self._near(item.name, self.world.bodies[other.name]):
                return Fact(item.name, "on", other.name)
        for r in self.world.scene.receptacles:
            if abs(bottom - r.floor) < LEVEL and _within(r, x, y):
                body = self.world.table if r.kind == "zone" else self.world.bodies[r.name]
                if self._near(item.name, body):
                    return Fact(item.name, "in", r.name)
        if abs(bottom) < LEVEL and self._near(item.name, self.world.table):
            return Fact(item.name, "on", TABLE)
        return None

    def _upright(self, item: Item) -> bool:
        """A cube rests on any face; a cylinder on an end."""
        qx, qy, qz, qw = self.poses[item.name].quaternion
        vertical = (2 * (qx * qz - qw * qy), 2 * (qy * qz + qw * qx), 1 - 2 * (qx * qx + qy * qy))
        best = max(map(abs, vertical)) if item.kind == "block" else abs(vertical[2])
        return best > _UPRIGHT

    def _near(self, name: str, body: int) -> bool:
        return bool(self.world.bullet.getClosestPoints(self.world.bodies[name], body, TOUCH))

    def _touches_ground(self, item: Item) -> bool:
        return self.poses[item.name].position[2] < item.size and self._near(item.name, self.world.table)

    def _touches_any(self, item: Item) -> bool:
        bodies = [b for name, b in self.world.bodies.items() if name != item.name]
        return any(self._near(item.name, body) for body in [self.world.table, *bodies])


def _within(r: Receptacle, x: float, y: float) -> bool:
    """Whether a point is inside the walls, or on a zone."""
    u, v = r.local(x, y)
    if r.kind == "bowl":
        return math.hypot(u, v) < r.half[0]
    return abs(u) < r.half[0] and abs(v) < r.half[1]
