"""Where objects stand with respect to each other: exact definitions, and spots that make them true.

All in metres, between centres of objects that stand on the table; directions are those of the
front camera's picture, which looks along -x: right is +y, near is +x.

left_of, right_of   the centre lies 0.055 to 0.135 to that side, and at most 0.030 off the line
in_front_of, behind the same, nearer to the front camera or farther from it
beside              faces of two blocks of equal turn at most 0.010 apart, at most 0.007 off the line
between             projected on the line from one to the other: 0.3 to 0.7 of the way, and at most
                    0.025 off it

Knows poses and names; no robot and no task.
"""

import math
from collections.abc import Iterable, Mapping

from sim.scene import TABLE, Fact, Item, Pose, Scene, names_in, pair

# Unit vector from the reference to where the object stands
DIRECTIONS: dict[str, tuple[float, float]] = {
    "left_of": (0.0, -1.0),
    "right_of": (0.0, 1.0),
    "in_front_of": (1.0, 0.0),
    "behind": (-1.0, 0.0),
}
SPATIAL = (*DIRECTIONS, "beside", "between")

PITCH = 0.090  # m at which a spot lies from its reference
_NEAREST, _FARTHEST, _OFF_LINE = 0.055, 0.135, 0.030
_TOUCHING, _BESIDE_OFF_LINE = 0.010, 0.007
_SAME_TURN = math.radians(8)
_MIDDLE, _BETWEEN_OFF_LINE = (0.3, 0.7), 0.025
_CONTACT_GAP = 0.003  # m left between two blocks that are put side by side

# A spot's distance from other objects and from walls, and the part of the table that is used, m
_SPOT_GAP, _SPOT_WALL = 0.080, 0.048
_SPOT_X, _SPOT_Y = (0.355, 0.670), (-0.240, 0.240)

Poses = Mapping[str, Pose]


def read(scene: Scene, where: Iterable[Fact], poses: Poses) -> tuple[Fact, ...]:
    """All spatial facts among the objects that stand on the table."""
    standing = [fact.object for fact in where if fact.relation == "on" and fact.target == TABLE]
    found = []
    for name in standing:
        others = [other for other in standing if other != name]
        for other in others:
            found += [Fact(name, r, other) for r in DIRECTIONS if _at_side(poses, name, r, other)]
            if _touching(scene, poses, name, other):
                found.append(Fact(name, "beside", other))
        for index, first in enumerate(others):
            found += [
                Fact(name, "between", pair(first, second))
                for second in others[index + 1 :]
                if _in_between(poses, name, first, second)
            ]
    return tuple(found)


def _at_side(poses: Poses, name: str, relation: str, other: str) -> bool:
    along, across = _split(poses[other], poses[name], DIRECTIONS[relation])
    return _NEAREST <= along <= _FARTHEST and abs(across) <= _OFF_LINE


def _touching(scene: Scene, poses: Poses, name: str, other: str) -> bool:
    a, b = scene.item(name), scene.item(other)
    turn = poses[other].yaw - poses[name].yaw
    if a.kind != "block" or b.kind != "block" or abs(_quarter(turn)) > _SAME_TURN:
        return False
    for side in range(4):
        angle = poses[other].yaw + side * math.pi / 2
        along, across = _split(poses[other], poses[name], (math.cos(angle), math.sin(angle)))
        if abs(along - (a.size + b.size) / 2 - _TOUCHING / 2) <= _TOUCHING / 2 + 0.002:
            return abs(across) <= _BESIDE_OFF_LINE
    return False


def _in_between(poses: Poses, name: str, first: str, second: str) -> bool:
    (x, y), length = _line(poses[first], poses[second])
    if length < 2 * _NEAREST:
        return False
    along, across = _split(poses[first], poses[name], (x, y))
    return _MIDDLE[0] <= along / length <= _MIDDLE[1] and abs(across) <= _BETWEEN_OFF_LINE


def _line(start: Pose, end: Pose) -> tuple[tuple[float, float], float]:
    """Unit vector from one to the other, and how far, seen from above."""
    dx, dy = end.position[0] - start.position[0], end.position[1] - start.position[1]
    length = math.hypot(dx, dy)
    return ((dx / length, dy / length) if length > 0 else (1.0, 0.0)), length


def _split(start: Pose, end: Pose, direction: tuple[float, float]) -> tuple[float, float]:
    """The way from one to the other, along a unit vector and across it, m."""
    dx, dy = end.position[0] - start.position[0], end.position[1] - start.position[1]
    c, s = direction
    return c * dx + s * dy, c * dy - s * dx


def _quarter(turn: float) -> float:
    """The same turn of a cube, within 45 degrees of zero."""
    return (turn + math.pi / 4) % (math.pi / 2) - math.pi / 4


# ---- spots


def spots(scene: Scene, poses: Poses, name: str, relation: str, target: str) -> list[Pose]:
    """Where the object would stand so that the relation holds, best first; free or not."""
    item = scene.item(name)
    half = item.height / 2
    if relation == "between":
        a, b = (poses[n].position for n in names_in(target))
        return [Pose.upright((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, half)]
    x, y, _ = poses[target].position
    if relation == "beside":
        turn = _quarter(poses[target].yaw)
        reach = (item.size + scene.item(target).size) / 2 + _CONTACT_GAP
        angles = [turn + side * math.pi / 2 for side in range(4)]
        return [Pose.upright(x + reach * math.cos(a), y + reach * math.sin(a), half, turn) for a in angles]
    dx, dy = DIRECTIONS[relation]
    return [
        Pose.upright(x + along * dx - across * dy, y + along * dy + across * dx, half)
        for along in (PITCH, PITCH + 0.012)
        for across in (0.0, 0.012, -0.012)
    ]


def free_spot(scene: Scene, poses: Poses, name: str, relation: str, target: str) -> Pose | None:
    """The first spot where there is room; None: something stands there, or the table ends."""
    ignored = {name, *names_in(target)}
    others = [item for item in scene.items if item.name not in ignored]
    for spot in spots(scene, poses, name, relation, target):
        x, y, _ = spot.position
        inside = _SPOT_X[0] <= x <= _SPOT_X[1] and _SPOT_Y[0] <= y <= _SPOT_Y[1]
        if (
            inside
            and all(_apart(x, y, item, poses[item.name]) for item in others)
            and walls_apart(scene, x, y)
        ):
            return spot
    return None


def _apart(x: float, y: float, item: Item, pose: Pose) -> bool:
    return math.hypot(x - pose.position[0], y - pose.position[1]) >= _SPOT_GAP + item.extra_room


def walls_apart(scene: Scene, x: float, y: float, gap: float = _SPOT_WALL) -> bool:
    """Whether a point of the table keeps clear of whatever stands there for good."""
    return all(thing.outside(x, y) >= gap for thing in scene.fixed)


def blockers(scene: Scene, where: Iterable[Fact], poses: Poses) -> tuple[Fact, ...]:
    """For what the scene's goal asks and has no room: who stands nearest to the first spot.

    Facts (object, "blocks", "relation target").
    """
    placed = {fact.object: fact for fact in where}
    found = []
    wanted = [fact for stage in (*scene.goal.stages, scene.goal.facts) for fact in stage]
    for fact in wanted:
        if fact.relation not in SPATIAL:
            continue
        references = names_in(fact.target)
        if any(placed[name].target != TABLE for name in references):
            continue
        if free_spot(scene, poses, fact.object, fact.relation, fact.target) is None:
            spot = spots(scene, poses, fact.object, fact.relation, fact.target)[0]
            others = [i.name for i in scene.items if i.name not in {fact.object, *references}]
            if others:
                nearest = min(others, key=lambda n: math.dist(poses[n].position, spot.position))
                found.append(Fact(nearest, "blocks", f"{fact.relation} {fact.target}"))
    return tuple(found)
