"""Forward and inverse kinematics of the Franka Panda with a downward gripper: numpy, no simulator.

Source of the geometry: Franka's control parameters documentation (Denavit-Hartenberg parameters
in Craig's convention); the grasp point lies 0.105 m below the hand's flange, between the fingers.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sim.robots.base import Vector

JOINTS = 7
# Craig's a [m], d [m] and alpha [rad], a row a joint
_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
# flange to grasp point: 0.107 m to the hand, then 0.105 m; the hand is turned by -45 degrees
_TOOL_LENGTH = 0.107 + 0.105
_TOOL_TURN = -math.pi / 4

LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
# elbow up, forearm level: from here Newton's method reaches every grasp over the table
_REST = np.array([0.0, -0.1, 0.0, -2.3, 0.0, 2.2, math.pi / 4])

_POSITION_TOLERANCE = 2e-4  # m
_TURN_TOLERANCE = 2e-3  # rad
_DAMPING = 1e-3


def _constant_parts() -> list[NDArray[np.float64]]:
    """The part of each link's transform that does not depend on its joint's angle."""
    parts = []
    for a, d, alpha in _DH:
        c, s = math.cos(alpha), math.sin(alpha)
        parts.append(
            np.array([[1, 0, 0, a], [0, c, -s, -s * d], [0, s, c, c * d], [0, 0, 0, 1]], dtype=float)
        )
    return parts


_PARTS = _constant_parts()


def _turn_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)


_TOOL = _turn_z(_TOOL_TURN) + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, _TOOL_LENGTH], [0, 0, 0, 0]])


def forward(joints: Vector) -> tuple[NDArray[np.float64], Vector, Vector]:
    """Pose of the grasp point, 4x4 in the robot's base frame, with the joints' axes and origins.

    Args:
        joints: [7] angles, rad.

    Returns:
        pose [4, 4]; axes [7, 3]; origins [7, 3], m.
    """
    pose = np.eye(4)
    axes, origins = np.empty((JOINTS, 3)), np.empty((JOINTS, 3))
    for i in range(JOINTS):
        pose = pose @ _PARTS[i] @ _turn_z(joints[i])
        axes[i], origins[i] = pose[:3, 2], pose[:3, 3]
    return pose @ _TOOL, axes, origins


def downward(yaw: float) -> NDArray[np.float64]:
    """Rotation [3, 3] of a gripper that points down; the fingers open along (sin yaw, -cos yaw)."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def inverse(position: Vector, yaw: float) -> Vector | None:
    """Joint angles that bring the grasp point to `position` (m), gripper down, turned by `yaw`.

    Damped least squares from a fixed seed (turned towards the target), so that the answer is a
    function of the target alone. A gripper turned by half a circle grasps the same, so both turns
    are tried. None when neither reaches it within 0.2 mm and the joint limits.
    """
    bearing = math.atan2(position[1], position[0])
    near = (yaw - bearing + math.pi / 2) % math.pi - math.pi / 2 + bearing
    for turn in (near, near - math.pi, near + math.pi):
        joints = _descend(position, downward(turn), bearing, turn)
        if joints is not None:
            return joints
    return None


def _descend(position: Vector, rotation: NDArray[np.float64], bearing: float, turn: float) -> Vector | None:
    joints = _REST.copy()
    joints[0] = bearing
    joints[6] += bearing - turn
    for _ in range(40):
        pose, axes, origins = forward(joints)
        move = position - pose[:3, 3]
        spin = 0.5 * np.cross(pose[:3, :3].T, rotation.T).sum(axis=0)
        if np.abs(move).max() < _POSITION_TOLERANCE and np.abs(spin).max() < _TURN_TOLERANCE:
            inside = bool((joints > LOWER).all() and (joints < UPPER).all())
            return joints if inside else None
        jacobian = np.concatenate([np.cross(axes, pose[:3, 3] - origins), axes], axis=1).T
        error = np.concatenate([move, spin])
        damped = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
        joints = joints + np.clip(jacobian.T @ np.linalg.solve(damped, error), -0.5, 0.5)
    return None
