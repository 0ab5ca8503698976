"""Ways of the gripper that must not break: one branch of the inverse kinematics from end to end.

A gripper of two fingers is the same after half a turn, so inverse kinematics may answer with either
turn and change over in mid-way. Here the last joint is moved by half a turn where that keeps the
arm's motion small. Knows joints and places; no object.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.robots.base import Robot, Vector
from sim.robots.fingers import Fingers

if TYPE_CHECKING:
    from sim.world import World

TRANSIT = 0.25  # m: motions across the table have the grasp point at least this high
NEAR = 0.06  # m above the work: from here the motion is straight down
_LARGEST = 1.2  # rad: no joint moves more from one point to the next; the arm would swing around


def can_lead(robot: Robot) -> bool:
    """Whether a robot leads and pushes things: two fingers, and an arm that goes straight on.

    A base that has to back out before it turns cannot lead a knob along its way, and a suction
    cup touches nothing from the side.
    """
    return isinstance(robot.gripper, Fingers) and type(robot).legs is Robot.legs


def straight_down(point: Vector) -> list[Vector]:
    """Points over, near and at a place of work."""
    x, y, z = point
    return [np.array([x, y, h]) for h in (max(TRANSIT, z + NEAR), z + NEAR, z)]


def way(world: "World", points: Sequence[Vector], yaw: float) -> list[Vector] | None:
    """Joints along points (m, world) with the gripper down and turned by `yaw`, without a leap.

    None: a point is out of reach, or neither branch reaches all of them.
    """
    answers = [world.robot.inverse(point, yaw) for point in points]
    if any(joints is None for joints in answers):
        return None
    limits = _limits(world.robot)
    for turn in (0.0, math.pi, -math.pi):
        path: list[Vector] = []
        for joints in answers:
            found = _nearest(limits, joints, path[-1] if path else None, turn)  # type: ignore[arg-type]
            if found is None:
                break
            path.append(found)
        if len(path) == len(answers):
            return path
    return None


def _limits(robot: Robot) -> tuple[float, float]:
    """Of the last joint, rad."""
    count = robot.bullet.getNumJoints(robot.body)
    infos = (robot.bullet.getJointInfo(robot.body, joint) for joint in range(count))
    low, high = next(info[8:10] for info in infos if info[1].decode() == robot.driven[-1])
    return low, high


def _nearest(
    limits: tuple[float, float], joints: Vector, before: Vector | None, turn: float
) -> Vector | None:
    """These joints, or these with the last one half a turn away, whichever follows on."""
    options = [joints + np.eye(len(joints))[-1] * half for half in (0.0, math.pi, -math.pi)]
    options = [option for option in options if limits[0] < option[-1] < limits[1]]
    if before is None:
        return next((o for o in options if abs(o[-1] - joints[-1] - turn) < 1e-9), None)
    best = min(options, key=lambda option: float(np.abs(option - before).max()), default=None)
    return best if best is not None and np.abs(best - before).max() < _LARGEST else None
