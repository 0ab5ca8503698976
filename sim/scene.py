"""What is in a scene and what is asked of it: frozen nouns, and the seeds that scenes come from.

No physics and no language: world.py builds a Scene, tasks/ draws one, language.py words it.
Metres and radians in the world frame: z up, the table's top at z = 0, the Panda's base at the origin
and the other robots' near it.
"""

import math
from dataclasses import dataclass

from sim.camera import Look

# Seeds from here on belong to the benchmark; training draws below. By construction disjoint.
BENCHMARK_FIRST_SEED = 1_000_000_000

TABLE = "table"
GRIPPER = "gripper"
CRATE = "crate"  # the kind of item that is pushed; its name ends so

# Paint that stays distinct after the blur of a 16x tokenizer
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.10),
    "green": (0.10, 0.62, 0.16),
    "blue": (0.12, 0.22, 0.86),
    "yellow": (0.95, 0.82, 0.08),
    "purple": (0.55, 0.12, 0.70),
    "cyan": (0.10, 0.78, 0.84),
    "orange": (0.98, 0.46, 0.04),
}
# Paint of the generalisation suite: training draws from COLOURS, which has none of it
UNSEEN_COLOURS: dict[str, tuple[float, float, float]] = {
    "pink": (0.98, 0.56, 0.76),
    "brown": (0.42, 0.24, 0.10),
    "black": (0.07, 0.07, 0.08),
    "lime": (0.64, 0.94, 0.12),
}
PAINT = COLOURS | UNSEEN_COLOURS

SLOT_PITCH = 0.06  # m between the centres of two slots of a receptacle
FLOOR = 0.004  # m, thickness of a container's floor
WALL = 0.006  # m, thickness of a container's walls
_INNER_WIDTH = 0.118  # m across the row of slots: a block and the fingers around it
_WALL_HEIGHT = {"tray": 0.018, "box": 0.040, "bowl": 0.036, "zone": 0.0, "drawer": 0.040, "cabinet": 0.054}
# Kinds of receptacles that open and close; sim/fixtures.py has their geometry
OPENING = ("drawer", "cabinet")
CRATE_HEIGHT = 0.046  # m
DRAWER_TRAVEL = 0.130  # m that a drawer slides
CASE = 0.014  # m by which its case is wider and deeper
KNOB_REACH = 0.032  # m that its knob stands out
LID_SLACK = 0.014  # m: a cabinet's lid turns a little more than a quarter
TALLEST = 3  # objects in a tower, where a scene allows no more
BUTTON_HALF = (0.045, 0.028)  # m, half extents of a button's base


def training_seed(seed: int) -> int:
    """The seed, when training may use it.

    Raises:
        ValueError: it belongs to the benchmark, or is negative.
    """
    if not 0 <= seed < BENCHMARK_FIRST_SEED:
        raise ValueError(
            f"seed {seed} is not for training: expected 0 to {BENCHMARK_FIRST_SEED - 1}; "
            "seeds above are the benchmark's"
        )
    return seed


@dataclass(frozen=True)
class Fact:
    """Where one object is: "on" an object or the table, "in" a receptacle, "held", or lost.

    Relations that a task can ask for: on, in, held, and those of sim/relations.py, in metres. What
    rests on two objects has both as its target, see `pair`. Of a drawer or cabinet: "open",
    "closed", "ajar"; of a button's lamp: "lit", "dark"; without a target. Others that physics can
    bring about: "leaning", "tipped", "floating", "moving", "lost"; their target is empty.
    """

    object: str
    relation: str
    target: str = ""


def pair(first: str, second: str) -> str:
    """Two names as one target, the same in either order; `names_in` takes it apart."""
    return " and ".join(sorted((first, second)))


def names_in(target: str) -> list[str]:
    """The names that a target is made of: one, or the two of a pair."""
    return target.split(" and ")


@dataclass(frozen=True)
class Goal:
    """What must be true at the end: facts, lowest first, and receptacles that hold nothing else.

    Stages must have been true before, each at the end of some skill, in their order: a task that
    leads back to where it began, or whose parts have an order, is not told by its end alone.
    """

    facts: tuple[Fact, ...]
    exclusive: tuple[str, ...] = ()
    stages: tuple[tuple[Fact, ...], ...] = ()

    def at(self, stage: int) -> "Goal":
        """What to work towards when that many stages have been reached."""
        if stage < len(self.stages):
            return Goal(self.stages[stage], self.exclusive)
        return Goal(self.facts, self.exclusive)

    def of(self, name: str) -> Fact | None:
        """What is asked of one object; None: nothing."""
        return next((fact for fact in self.facts if fact.object == name), None)


@dataclass(frozen=True)
class Skill:
    """One call of the skill library.

    pick(object), place(object, target), push(object, target), press(button); open and close take a
    drawer or a cabinet.
    """

    verb: str
    object: str
    # an object, a pair of them, a receptacle or "table"; empty where nothing goes anywhere
    target: str = ""
    # of a place: empty for in or on the target, else one of sim/relations.py
    relation: str = ""

    def __str__(self) -> str:
        where = " ".join(word for word in (self.relation, self.target) if word)
        return f"{self.verb}({self.object}{', ' + where if where else ''})"


@dataclass(frozen=True)
class Pose:
    """Where a body is: position [3] m and quaternion [4] x y z w, world frame."""

    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    @property
    def yaw(self) -> float:
        """Turn about the vertical, rad."""
        x, y, z, w = self.quaternion
        return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    @staticmethod
    def upright(x: float, y: float, z: float, yaw: float = 0.0) -> "Pose":
        """A body that stands upright."""
        return Pose((x, y, z), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))


@dataclass(frozen=True)
class Item:
    """A thing that can be moved: a cube ("block"), an upright cylinder, or a flat square "crate".

    A crate is too wide for the gripper: it is pushed.
    """

    name: str
    kind: str
    colour: str
    # edge of a cube, diameter and height of a cylinder, width of a crate
    size: float
    x: float
    y: float
    # height of the centre
    z: float
    yaw: float

    @property
    def height(self) -> float:
        """From its bottom to its top, m."""
        return CRATE_HEIGHT if self.kind == "crate" else self.size

    @property
    def extra_room(self) -> float:
        """How much farther than from a small item others stay from its centre, m."""
        return 0.045 if self.kind == "crate" else 0.0


@dataclass(frozen=True)
class Receptacle:
    """A thing that stays: an open tray, box or bowl, a zone painted on the table, or one that opens.

    A drawer lies open at x, y and is pulled out along its own y axis; a cabinet's lid swings aside.
    """

    name: str
    kind: str
    colour: str
    # how many objects fit, in a row along its own x axis
    slots: int
    x: float
    y: float
    yaw: float

    @property
    def opens(self) -> bool:
        """Whether it is a drawer or a cabinet."""
        return self.kind in OPENING

    @property
    def wall_height(self) -> float:
        """Height of the walls above the table, m; 0: a zone."""
        return _WALL_HEIGHT[self.kind]

    @property
    def floor(self) -> float:
        """Height of what objects stand on, m."""
        return 0.0 if self.kind == "zone" else FLOOR

    @property
    def half(self) -> tuple[float, float]:
        """Half extents inside the walls along its own x and y, m. A bowl: its radius, twice."""
        if self.kind == "bowl":
            return (0.078, 0.078)
        return (self.slots * SLOT_PITCH / 2 + 0.008, _INNER_WIDTH / 2)

    def slot(self, index: int) -> tuple[float, float]:
        """Centre of a slot, (x, y) in the world."""
        along = (index - (self.slots - 1) / 2) * SLOT_PITCH
        return (self.x + along * math.cos(self.yaw), self.y + along * math.sin(self.yaw))

    def local(self, x: float, y: float) -> tuple[float, float]:
        """A world point in the receptacle's own axes."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = x - self.x, y - self.y
        return (c * dx + s * dy, c * dy - s * dx)

    def outside(self, x: float, y: float) -> float:
        """Distance of a world point from the outer walls, m; 0 within them.

        What opens keeps the room that it needs open and closed.
        """
        u, v = self.local(x, y)
        if self.kind in OPENING:
            return min(_distance(u, v, *box) for box in self.footprint)
        wall = 0.0 if self.kind == "zone" else WALL
        if self.kind == "bowl":
            return max(math.hypot(u, v) - self.half[0] - 0.018, 0.0)
        return math.hypot(max(abs(u) - self.half[0] - wall, 0.0), max(abs(v) - self.half[1] - wall, 0.0))

    @property
    def footprint(self) -> tuple[tuple[float, float, float, float], ...]:
        """Of what opens: (least u, most u, least v, most v) of the table that it needs, own axes."""
        u, v = self.half[0] + WALL, self.half[1] + WALL
        if self.kind == "drawer":
            return (
                (-u, u, -v, v + KNOB_REACH),
                (-u - CASE, u + CASE, -v - DRAWER_TRAVEL - CASE, v - DRAWER_TRAVEL),
            )
        return ((-u, u, -v, v), (-u - 2 * v - LID_SLACK, -u, -v, 2 * u - v))


def _distance(u: float, v: float, low_u: float, high_u: float, low_v: float, high_v: float) -> float:
    """From a point to a rectangle, m; 0 inside."""
    return math.hypot(max(low_u - u, u - high_u, 0.0), max(low_v - v, v - high_v, 0.0))


@dataclass(frozen=True)
class Button:
    """A button on a base that stands still, with a lamp that rises when it is lit."""

    name: str
    colour: str
    x: float
    y: float
    yaw: float

    def outside(self, x: float, y: float) -> float:
        """Distance of a world point from the base, m; 0 within."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = x - self.x, y - self.y
        (u, v), (length, width) = (c * dx + s * dy, c * dy - s * dx), BUTTON_HALF
        return _distance(u, v, -length, length, -width, width)


@dataclass(frozen=True)
class Scene:
    """A scene before anything moved. (family, seed, robot) names it, and gives it again."""

    family: str
    seed: int
    robot: str
    items: tuple[Item, ...]
    receptacles: tuple[Receptacle, ...]
    look: Look
    goal: Goal
    instruction: str
    buttons: tuple[Button, ...] = ()
    # relations (of sim/relations.py) by which a place may be chosen, besides in and on
    relations: tuple[str, ...] = ()
    # of how many objects a tower may be
    tallest: int = TALLEST

    def item(self, name: str) -> Item:
        """The item of that name; KeyError names those that are there."""
        for item in self.items:
            if item.name == name:
                return item
        raise KeyError(f"no item {name!r}; have {[item.name for item in self.items]}")

    def button(self, name: str) -> Button | None:
        """The button of that name, or None."""
        return next((b for b in self.buttons if b.name == name), None)

    @property
    def fixed(self) -> "tuple[Receptacle | Button, ...]":
        """What stays where it is: nothing may be put too near."""
        return (*self.receptacles, *self.buttons)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what has a moving part."""
        return tuple(r.name for r in self.receptacles if r.opens) + tuple(b.name for b in self.buttons)

    def receptacle(self, name: str) -> Receptacle | None:
        """The receptacle of that name, or None."""
        return next((r for r in self.receptacles if r.name == name), None)
