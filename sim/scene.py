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

SLOT_PITCH = 0.06  # m between the centres of two slots of a receptacle
FLOOR = 0.004  # m, thickness of a container's floor
WALL = 0.006  # m, thickness of a container's walls
_INNER_WIDTH = 0.118  # m across the row of slots: a block and the fingers around it
_WALL_HEIGHT = {"tray": 0.018, "box": 0.040, "bowl": 0.036, "zone": 0.0}


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

    Relations that a task can ask for: on, in, held. Others that physics can bring about:
    "leaning", "tipped", "floating", "moving", "lost"; their target is empty.
    """

    object: str
    relation: str
    target: str = ""


@dataclass(frozen=True)
class Goal:
    """What must be true at the end: facts, lowest first, and receptacles that hold nothing else."""

    facts: tuple[Fact, ...]
    exclusive: tuple[str, ...] = ()

    def of(self, name: str) -> Fact | None:
        """What is asked of one object; None: nothing."""
        return next((fact for fact in self.facts if fact.object == name), None)


@dataclass(frozen=True)
class Skill:
    """One call of the skill library: pick(object), or place(object, target)."""

    verb: str  # "pick" or "place"
    object: str
    # an object, a receptacle or "table"; empty for a pick
    target: str = ""

    def __str__(self) -> str:
        return f"{self.verb}({self.object}{', ' + self.target if self.target else ''})"


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
    """A thing that can be moved: a cube ("block") or an upright cylinder."""

    name: str
    kind: str
    colour: str
    # edge of a cube, diameter and height of a cylinder
    size: float
    x: float
    y: float
    # height of the centre
    z: float
    yaw: float


@dataclass(frozen=True)
class Receptacle:
    """A thing that stays: an open tray, box or bowl, or a zone painted on the table."""

    name: str
    kind: str
    colour: str
    # how many objects fit, in a row along its own x axis
    slots: int
    x: float
    y: float
    yaw: float

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
        """Distance of a world point from the outer walls, m; 0 within them."""
        u, v = self.local(x, y)
        wall = 0.0 if self.kind == "zone" else WALL
        if self.kind == "bowl":
            return max(math.hypot(u, v) - self.half[0] - 0.018, 0.0)
        return math.hypot(max(abs(u) - self.half[0] - wall, 0.0), max(abs(v) - self.half[1] - wall, 0.0))


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

    def item(self, name: str) -> Item:
        """The item of that name; KeyError names those that are there."""
        for item in self.items:
            if item.name == name:
                return item
        raise KeyError(f"no item {name!r}; have {[item.name for item in self.items]}")

    def receptacle(self, name: str) -> Receptacle | None:
        """The receptacle of that name, or None."""
        return next((r for r in self.receptacles if r.name == name), None)
