"""Ways on which a crate can be pushed to a zone: straight legs along its own axes, nothing in between.

Knows places on the table; no physics and no robot but for how far any of them reaches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sim.scene import Button, Item, Pose, Receptacle, Scene

FINGER_HALF = 0.0105  # m, of a finger along the way
BACK = 0.022  # m behind the face, where the gripper comes down
_SHORTEST = 0.006  # m: a shorter leg is left out
_CRATE_ROOM, _WALL_ROOM = 0.100, 0.076  # m from the moving crate's centre to others' and to walls
_FINGER_ROOM, _FINGER_WALL = 0.095, 0.066  # m the same where the gripper comes down
_REACH = (0.29, 0.74)  # m from the base to where the gripper comes down

Point = tuple[float, float]


@dataclass(frozen=True)
class Leg:
    """One straight push: where the crate is, which way, how far."""

    start: Point
    direction: Point
    length: float

    @property
    def end(self) -> Point:
        """Where the crate's centre arrives."""
        return self.at(self.length)

    def at(self, along: float) -> Point:
        """The crate's centre after some of the way; negative: a point behind it."""
        return (self.start[0] + along * self.direction[0], self.start[1] + along * self.direction[1])

    @property
    def yaw(self) -> float:
        """The gripper's turn: fingers across the way."""
        return math.atan2(self.direction[1], self.direction[0])


def behind(item: Item) -> float:
    """From the crate's centre to the gripper's when the fingers touch its face, m."""
    return item.size / 2 + FINGER_HALF


def legs(scene: Scene, poses: Mapping[str, Pose], item: Item, zone: Receptacle) -> list[Leg]:
    """One or two legs to the zone's middle with a free way; empty: none, or it is there."""
    pose = poses[item.name]
    start = (pose.position[0], pose.position[1])
    dx, dy = zone.x - start[0], zone.y - start[1]
    axes = [(math.cos(pose.yaw), math.sin(pose.yaw)), (-math.sin(pose.yaw), math.cos(pose.yaw))]
    ways = [(axis, axis[0] * dx + axis[1] * dy) for axis in axes]
    for order in (ways, ways[::-1]):
        found, at = [], start
        for (c, s), length in order:
            if abs(length) >= _SHORTEST:
                sign = math.copysign(1.0, length)
                found.append(Leg(at, (sign * c, sign * s), abs(length)))
                at = found[-1].end
        if all(_free(scene, poses, item, leg) for leg in found):
            return found
    return []


def _free(scene: Scene, poses: Mapping[str, Pose], item: Item, leg: Leg) -> bool:
    """Whether nothing is in the way of crate and gripper."""
    gripper = leg.at(-behind(item) - BACK)
    if not _REACH[0] <= math.hypot(*gripper) <= _REACH[1]:
        return False
    for other in scene.items:
        if other.name != item.name:
            x, y, _ = poses[other.name].position
            if _distance(leg, x, y) < _CRATE_ROOM + other.extra_room:
                return False
            if math.hypot(x - gripper[0], y - gripper[1]) < _FINGER_ROOM + other.extra_room:
                return False
    things = [thing for thing in scene.fixed if isinstance(thing, Button) or thing.kind != "zone"]
    steps = [leg.at(leg.length * i / 6) for i in range(7)]
    return all(
        thing.outside(*gripper) >= _FINGER_WALL and all(thing.outside(*p) >= _WALL_ROOM for p in steps)
        for thing in things
    )


def _distance(leg: Leg, x: float, y: float) -> float:
    """Distance of a point from the way of the crate's centre, m."""
    dx, dy = x - leg.start[0], y - leg.start[1]
    along = min(max(dx * leg.direction[0] + dy * leg.direction[1], 0.0), leg.length)
    px, py = leg.at(along)
    return math.hypot(x - px, y - py)
