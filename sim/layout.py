"""Drawing a scene: places receptacles and items at random, far enough apart to be grasped."""

import math

import numpy as np

from sim.scene import COLOURS, Item, Receptacle

# Where the centres of items may be, m
X_RANGE = (0.37, 0.66)
Y_RANGE = (-0.225, 0.225)
# Where receptacles may reach, m
_REACH_X = (0.335, 0.695)
_REACH_Y = (-0.265, 0.265)
ITEM_GAP = 0.090  # m between the centres of two items
WALL_GAP = 0.050  # m from an item's centre to a receptacle
_RECEPTACLE_GAP = 0.025
_SIZES = (0.046, 0.048, 0.050)
KINDS = ("block", "cylinder")


class NoRoomError(Exception):
    """The table is too full for the draw; draw again."""


class Layout:
    """A scene under construction."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.items: list[Item] = []
        self.receptacles: list[Receptacle] = []

    def colours(self, count: int) -> list[str]:
        """Distinct colours, in random order."""
        return [str(c) for c in self.rng.permutation(list(COLOURS))[:count]]

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

    def item(self, kind: str, colour: str) -> Item:
        """Put an item on the table, clear of all else."""
        for _ in range(60):
            x, y = float(self.rng.uniform(*X_RANGE)), float(self.rng.uniform(*Y_RANGE))
            if all(math.hypot(x - o.x, y - o.y) >= ITEM_GAP for o in self.items) and all(
                r.outside(x, y) >= WALL_GAP for r in self.receptacles
            ):
                return self._add(kind, colour, x, y, 0.0, float(self.rng.uniform(-0.78, 0.78)))
        raise NoRoomError

    def item_on(self, kind: str, colour: str, base: Item) -> Item:
        """Put an item on top of another."""
        return self._add(kind, colour, base.x, base.y, base.z + base.size / 2, base.yaw)

    def item_in(self, kind: str, colour: str, where: Receptacle, slot: int) -> Item:
        """Put an item into a slot of a receptacle."""
        x, y = where.slot(slot)
        return self._add(kind, colour, x, y, where.floor, where.yaw)

    def distractors(self, count: int, colours: list[str]) -> None:
        """Items that the task does not name: any kind, colours from the list, names unused so far."""
        names = {item.name for item in self.items}
        free = [(k, c) for c in colours for k in KINDS if f"{c} {k}" not in names]
        for index in self.rng.permutation(len(free))[:count]:
            self.item(*free[int(index)])

    def _add(self, kind: str, colour: str, x: float, y: float, floor: float, yaw: float) -> Item:
        size = float(self.rng.choice(_SIZES))
        item = Item(f"{colour} {kind}", kind, colour, size, x, y, floor + size / 2, yaw)
        self.items.append(item)
        return item


def _apart(a: Receptacle, b: Receptacle) -> bool:
    """Whether two receptacles leave a gap: sampled along both outlines."""
    return all(b.outside(*p) >= _RECEPTACLE_GAP for p in _outline(a)) and all(
        a.outside(*p) >= _RECEPTACLE_GAP for p in _outline(b)
    )


def _outline(r: Receptacle) -> list[tuple[float, float]]:
    c, s = math.cos(r.yaw), math.sin(r.yaw)
    (length, width), margin = r.half, 0.02 if r.kind == "bowl" else 0.006
    length, width = length + margin, width + margin
    return [
        (r.x + c * u * length - s * v * width, r.y + s * u * length + c * v * width)
        for u in (-1, -0.5, 0, 0.5, 1)
        for v in (-1, -0.5, 0, 0.5, 1)
    ]
