"""Where everything is, in symbols, read from exact physics: height, contact, release and rest.

Reading changes nothing (no collision pass, no step), so it may be done at any time, also in a
state that was posed and never simulated. Knows no task.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim import fixtures, relations
from sim.robots.base import TOUCH
from sim.scene import GRIPPER, TABLE, Fact, Item, Pose, Receptacle, names_in, pair

if TYPE_CHECKING:
    from sim.world import World

LEVEL = 0.006  # m: how far a resting object's bottom may be from what carries it
_REST_SPEED = 0.03  # m/s
_UPRIGHT = math.cos(math.radians(8))
# Between two supports an item's centre is this far from theirs, in sizes of theirs
_INNER, _OUTER = 0.35, 0.75
_SLOT_TAKEN = 0.052  # m from a slot's centre: nearer, an object blocks it


@dataclass(frozen=True)
class SymbolicState:
    """Where each object is; equal states look alike up to millimetres."""

    where: tuple[Fact, ...]
    # receptacles without a free slot
    full: tuple[str, ...] = ()
    # objects that the gripper touches while something else carries them
    touched: tuple[str, ...] = ()
    # drawers and cabinets: open, closed, ajar; lamps of buttons: lit, dark
    parts: tuple[Fact, ...] = ()
    # how objects on the table stand to each other, see sim/relations.py
    spatial: tuple[Fact, ...] = ()
    # who takes the room of what the task asks: Fact(object, "blocks", "relation target")
    blocked: tuple[Fact, ...] = ()
    # how many of the goal's stages have been reached
    stage: int = 0

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
        return next((f.object for f in self.where if f.relation == "on" and name in names_in(f.target)), None)

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
            count, fact = count + 1, self.of(names_in(fact.target)[0])
        return count, fact.target

    def part(self, name: str) -> str:
        """What a drawer, a cabinet or a lamp is: open, closed, ajar, lit, dark; empty: no such part."""
        return next((fact.relation for fact in self.parts if fact.object == name), "")

    def shut_in(self, name: str) -> str | None:
        """The drawer or cabinet that an object lies in and that is not open, or None."""
        _, ground = self.level(name)
        return ground if self.part(ground) in ("closed", "ajar") else None


def satisfied(state: SymbolicState, fact: Fact) -> bool:
    """Whether the fact holds, and no gripper touches the object."""
    if not fact.target:
        return fact in state.parts
    if fact.relation in relations.SPATIAL:
        return fact in state.spatial and fact.object not in state.touched
    return state.of(fact.object) == fact and fact.object not in state.touched


def read(world: "World") -> SymbolicState:
    """The symbolic state of a world."""
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    reader = _Reader(world, poses)
    where = tuple(reader.place(item) for item in world.scene.items)
    held = {fact.object for fact in where if fact.relation == "held"}
    touched = tuple(n for n in poses if n not in held and reader.touched(n))
    full = tuple(r.name for r in reader.receptacles if free_slot(r, poses, next(iter(held), "")) is None)
    spatial = relations.read(world.scene, where, poses)
    blocked = relations.blockers(world.scene, where, poses)
    return SymbolicState(where, full, touched, _parts(world), spatial, blocked, world.stage)


def _parts(world: "World") -> tuple[Fact, ...]:
    """What stands open, closed or ajar, and which lamps are lit."""
    facts = []
    for receptacle in world.scene.receptacles:
        if receptacle.opens:
            share = world.fraction(receptacle.name)
            ajar = "ajar" if share > fixtures.CLOSED_TO else "closed"
            facts.append(Fact(receptacle.name, "open" if share >= fixtures.OPEN_FROM else ajar))
    for button in world.scene.buttons:
        facts.append(Fact(button.name, "lit" if world.fraction(button.name) > 0.5 else "dark"))
    return tuple(facts)


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
        # where their insides are now
        self.receptacles = [
            fixtures.moved(r, world.fraction(r.name)) if r.opens else r for r in world.scene.receptacles
        ]

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
        bottom = z - item.height / 2
        if (two := self._two_supports(item, bottom)) is not None:
            return two
        for other in self.world.scene.items:
            ox, oy, oz = self.poses[other.name].position
            over = math.hypot(x - ox, y - oy) < other.size / 2
            level = over and abs(bottom - oz - other.height / 2) < LEVEL
            if other.name != item.name and level and self._near(item.name, self.world.bodies[other.name]):
                return Fact(item.name, "on", other.name)
        for r in self.receptacles:
            if abs(bottom - r.floor) < LEVEL and _within(r, x, y):
                body = self.world.table if r.kind == "zone" else self.world.bodies[r.name]
                if self._near(item.name, body):
                    return Fact(item.name, "in", r.name)
        if abs(bottom) < LEVEL and self._near(item.name, self.world.table):
            return Fact(item.name, "on", TABLE)
        return None

    def _two_supports(self, item: Item, bottom: float) -> Fact | None:
        """The two objects that carry an item between them: its centre is near the edge of both."""
        x, y, _ = self.poses[item.name].position
        under = []
        for other in self.world.scene.items:
            ox, oy, oz = self.poses[other.name].position
            level = other.name != item.name and abs(bottom - oz - other.height / 2) < LEVEL
            far = math.hypot(x - ox, y - oy) / other.size
            if level and _INNER < far < _OUTER and self._near(item.name, self.world.bodies[other.name]):
                under.append(other.name)
        return Fact(item.name, "on", pair(*under)) if len(under) == 2 else None

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
