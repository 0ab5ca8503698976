"""Drawing a scene: places receptacles and items at random, far enough apart to be grasped."""

import math

import numpy as np

from sim.camera import Look
from sim.fixtures import moved, pile_in_the_way, pile_near, world_point
from sim.scene import BUTTON_HALF, COLOURS, CRATE_HEIGHT, Button, Goal, Item, Pose, Receptacle, Scene

# Where the centres of items may be, m
X_RANGE = (0.37, 0.66)
Y_RANGE = (-0.225, 0.225)
# Where receptacles may reach, m
_REACH_X = (0.335, 0.695)
_REACH_Y = (-0.265, 0.265)
ITEM_GAP = 0.090  # m between the centres of two items
WALL_GAP = 0.050  # m from an item's centre to a receptacle
_RECEPTACLE_GAP = 0.025
CRATE_WIDTH = 0.100  # m: more than a gripper opens
_NO_LOOK = Look((), (0, 0, 0), (0, 0, 1), (1, 1, 1), 1.0, 0.0)
_SIZES = (0.046, 0.048, 0.050)
KINDS = ("block", "cylinder")


class NoRoomError(Exception):
    """The table is too full for the draw; draw again."""


class Layout:
    """A scene under construction."""

    def __init__(self, rng: np.random.Generator, first: tuple[str, ...] = ()) -> None:
        self.rng = rng
        # colours that are given out before any of COLOURS
        self._first = first
        self.items: list[Item] = []
        self.receptacles: list[Receptacle] = []
        self.buttons: list[Button] = []
        # relations by which a place may be chosen, see Scene
        self.relations: tuple[str, ...] = ()

    def colours(self, count: int) -> list[str]:
        """Distinct colours, in random order."""
        first = [str(c) for c in self.rng.permutation(self._first)] if self._first else []
        return [*first, *(str(c) for c in self.rng.permutation(list(COLOURS)))][:count]

    def kind(self) -> str:
        """Block or cylinder; blocks more often."""
        return KINDS[int(self.rng.random() < 0.35)]

    def receptacle(self, kind: str, colour: str, slots: int) -> Receptacle:
        """Put a receptacle where there is room: along, across, or a little turned."""
        for _ in range(60):
            yaw = float(self.rng.choice([0.0, math.pi / 2]) + self.rng.uniform(-0.15, 0.15))
            half = Receptacle("", kind, colour, slots, 0, 0, yaw).half
            c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
            reach_x = c * half[0] + s * half[1] + 0.01 + 0.015 * (kind == "bowl")
            reach_y = s * half[0] + c * half[1] + 0.01 + 0.015 * (kind == "bowl")
            x = float(self.rng.uniform(_REACH_X[0] + reach_x, _REACH_X[1] - reach_x))
            y = float(self.rng.uniform(_REACH_Y[0] + reach_y, _REACH_Y[1] - reach_y))
            drawn = Receptacle(f"{colour} {kind}", kind, colour, slots, x, y, yaw)
            if all(_apart(drawn, other) for other in self.receptacles):
                self.receptacles.append(drawn)
                return drawn
        raise NoRoomError

    def opening(self, kind: str, colour: str, slots: int) -> Receptacle:
        """Put a drawer or cabinet where it can open."""
        for _ in range(200):
            yaw = float(self.rng.choice([0.0, 0.5, 1.0, 1.5]) * math.pi + self.rng.uniform(-0.1, 0.1))
            x, y = float(self.rng.uniform(*_REACH_X)), float(self.rng.uniform(*_REACH_Y))
            drawn = Receptacle(f"{colour} {kind}", kind, colour, slots, x, y, yaw)
            inside = all(
                _REACH_X[0] <= px <= _REACH_X[1] and _REACH_Y[0] <= py <= _REACH_Y[1]
                for px, py in _outline(drawn)
            )
            if inside and all(_apart(drawn, other) for other in self.receptacles):
                self.receptacles.append(drawn)
                return drawn
        raise NoRoomError

    def button(self, colour: str) -> Button:
        """Put a button where there is room; before any item."""
        for _ in range(60):
            x, y = float(self.rng.uniform(*X_RANGE)), float(self.rng.uniform(*Y_RANGE))
            drawn = Button(f"{colour} button", colour, x, y, float(self.rng.uniform(-0.3, 0.3)))
            if all(r.outside(x, y) >= BUTTON_HALF[0] + _RECEPTACLE_GAP for r in self.receptacles):
                self.buttons.append(drawn)
                return drawn
        raise NoRoomError

    def item(self, kind: str, colour: str, size: float | None = None) -> Item:
        """Put an item on the table, clear of all else; its size, m, is drawn if not given."""
        for _ in range(60):
            x, y = float(self.rng.uniform(*X_RANGE)), float(self.rng.uniform(*Y_RANGE))
            if self.free(x, y):
                return self._add(kind, colour, x, y, 0.0, float(self.rng.uniform(-0.78, 0.78)), size)
        raise NoRoomError

    def free(self, x: float, y: float) -> bool:
        """Whether an item may stand at a point of the table."""
        return all(math.hypot(x - o.x, y - o.y) >= ITEM_GAP + o.extra_room for o in self.items) and all(
            r.outside(x, y) >= WALL_GAP for r in self.sketch().fixed
        )

    def crate(self, colour: str, x: float, y: float, yaw: float) -> Item:
        """Put a crate at a place of the table; before any other item."""
        return self._add("crate", colour, x, y, 0.0, yaw, CRATE_WIDTH)

    def sketch(self) -> Scene:
        """What has been drawn so far, as a scene without look, goal and words."""
        return Scene(
            "", 0, "", tuple(self.items), tuple(self.receptacles), _NO_LOOK, Goal(()), "", tuple(self.buttons)
        )

    def insist_on_reach(self) -> None:
        """NoRoomError: a pile stands where a hand has to be to open, press, fill or empty something."""
        scene, poses = self.sketch(), self.poses()
        for thing in scene.fixed:
            moves = isinstance(thing, Button) or thing.opens
            if moves and pile_in_the_way(scene, poses, thing) is not None:
                raise NoRoomError
        for receptacle in scene.receptacles:
            for index in range(receptacle.slots):
                at = (*receptacle.slot(index), receptacle.floor + _SIZES[0] / 2)
                if pile_near(scene, poses, at, receptacle.yaw) is not None:
                    raise NoRoomError

    def poses(self) -> dict[str, Pose]:
        """Where the items have been put, by name."""
        return {i.name: Pose.upright(i.x, i.y, i.z, i.yaw) for i in self.items}

    def item_on(self, kind: str, colour: str, base: Item) -> Item:
        """Put an item on top of another."""
        return self._add(kind, colour, base.x, base.y, base.z + base.size / 2, base.yaw)

    def item_in(self, kind: str, colour: str, where: Receptacle, slot: int) -> Item:
        """Put an item into a slot of a receptacle; drawers are closed at first."""
        x, y = moved(where, 0.0).slot(slot)
        return self._add(kind, colour, x, y, where.floor, where.yaw)

    def distractors(self, count: int, colours: list[str]) -> None:
        """Items that the task does not name: any kind, colours from the list, names unused so far."""
        names = {item.name for item in self.items}
        free = [(k, c) for c in colours for k in KINDS if f"{c} {k}" not in names]
        for index in self.rng.permutation(len(free))[:count]:
            self.item(*free[int(index)])

    def _add(
        self, kind: str, colour: str, x: float, y: float, floor: float, yaw: float, given: float | None = None
    ) -> Item:
        size = float(self.rng.choice(_SIZES)) if given is None else given
        height = CRATE_HEIGHT if kind == "crate" else size
        item = Item(f"{colour} {kind}", kind, colour, size, x, y, floor + height / 2, yaw)
        self.items.append(item)
        return item


def _apart(a: Receptacle, b: Receptacle) -> bool:
    """Whether two receptacles leave a gap: sampled along both outlines."""
    return all(b.outside(*p) >= _RECEPTACLE_GAP for p in _outline(a)) and all(
        a.outside(*p) >= _RECEPTACLE_GAP for p in _outline(b)
    )


def _outline(r: Receptacle) -> list[tuple[float, float]]:
    if r.opens:
        return [
            world_point(r, low_u + (high_u - low_u) * i / 6, low_v + (high_v - low_v) * j / 6)
            for low_u, high_u, low_v, high_v in r.footprint
            for i in range(7)
            for j in range(7)
        ]
    c, s = math.cos(r.yaw), math.sin(r.yaw)
    (length, width), margin = r.half, 0.02 if r.kind == "bowl" else 0.006
    length, width = length + margin, width + margin
    return [
        (r.x + c * u * length - s * v * width, r.y + s * u * length + c * v * width)
        for u in (-1, -0.5, 0, 0.5, 1)
        for v in (-1, -0.5, 0, 0.5, 1)
    ]
