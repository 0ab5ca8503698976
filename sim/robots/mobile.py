"""A Clearpath Husky that carries an xArm 6: it turns on the spot, drives, and then reaches.

The base moves as two wheels a side allow: it turns only at its dock and drives straight from there.
It is driven by a turning and a sliding joint; its wheels are drawn and do not roll. What it drives
on is the table, as if the objects stood on the floor.
Source of the geometry: pybullet_data's husky/husky.urdf.
"""

import functools
import math

import numpy as np

from sim.robots import urdf
from sim.robots.base import Matrix, Robot, Vector
from sim.robots.fingers import Fingers
from sim.robots.planar import shift, turn_z
from sim.robots.xarm import JOINTS, arm_forward, arm_inverse, arm_tree, make_fingers

_DOCK_X = -0.48  # m: where the base turns about its middle
_MOUNT = (0.32, 0.0, 0.3695)  # m: the arm's base, from the middle of the base on the ground
_REACH = 0.53  # m from the arm's base: farther objects are driven to
_LONGEST_DRIVE = 0.40  # m
_CHASSIS_Z = 0.14493  # m: the chassis' frame above the ground
_WHEELS = [(x, y) for x in (0.256, -0.256) for y in (0.2854, -0.2854)]
_COARSE = 0.015  # m, grid of the visual meshes


class Mobile(Robot):
    """Vectors: turn (rad), drive (m), then the arm's six joints."""

    name = "mobile"
    description = "Clearpath Husky with a UFACTORY xArm 6: drives up, then reaches; two fingers"
    driven = ("turn", "drive", *JOINTS)
    # the base is slower than the arm: 3 rad/s and 0.9 m/s at most
    pace = (3.6, 12.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    grasp_link = "grasp"
    base = (_DOCK_X, 0.0, 0.0)

    @classmethod
    @functools.cache
    def urdf(cls) -> str:
        """See Robot."""
        root = arm_tree("0.34 0.35 0.38 1", "0.62 0.63 0.65 1")
        root.remove(urdf.find(root, "joint", "world_joint"))
        urdf.add_link(root, "turntable", 5.0, 0.1)
        urdf.add_joint(root, "turn", "revolute", "world", "turntable", limits=(-1.5, 1.5))
        _add_chassis(urdf.add_link(root, "chassis", 45.0, 2.0))
        urdf.add_joint(
            root, "drive", "prismatic", "turntable", "chassis",
            xyz=f"0 0 {_CHASSIS_Z}", axis="1 0 0", limits=(-0.1, _LONGEST_DRIVE),
        )  # fmt: skip
        x, y, z = _MOUNT
        urdf.add_joint(root, "mount", "fixed", "chassis", "link_base", xyz=f"{x} {y} {z - _CHASSIS_Z}")
        return urdf.write(root, cls.name)

    def _make_gripper(self) -> Fingers:
        return make_fingers(self)

    @staticmethod
    def inverse(position: Vector, yaw: float) -> Vector | None:
        """Exact: towards the target, up to `_REACH` from it, then the arm in the base's own plane."""
        x, y, z = position
        turn, away = math.atan2(y, x - _DOCK_X), math.hypot(x - _DOCK_X, y) - _MOUNT[0]
        drive = max(0.0, away - _REACH)
        if drive > _LONGEST_DRIVE:
            return None
        arm = arm_inverse(np.array([away - drive, 0.0, z - _MOUNT[2]]), yaw - turn)
        return None if arm is None else np.array([turn, drive, *arm])

    @staticmethod
    def forward(joints: Vector) -> Matrix:
        """See Robot."""
        base = shift(_DOCK_X, 0, 0) @ turn_z(joints[0]) @ shift(joints[1], 0, 0) @ shift(*_MOUNT)
        pose: Matrix = base @ arm_forward(joints[2:])
        return pose

    def legs(self, joints: Vector) -> list[Vector]:
        """Back to the dock, the turn there, and forward: the base cannot move sideways."""
        now = self.target
        if now[0] == joints[0] or (now[1] == 0 and joints[1] == 0):
            return [joints]
        docked_before, docked_after = now.copy(), joints.copy()
        docked_before[1] = docked_after[1] = 0.0
        legs = [docked_before, docked_after, joints]
        return [leg for leg, last in zip(legs, [now, *legs], strict=False) if not np.array_equal(leg, last)]


def _add_chassis(link: urdf.Element) -> None:
    """The Husky's body with its wheels; these touch nothing, for the joints carry the base."""
    root = urdf.read("husky/husky.urdf")
    for part, colour in (("base_link", "0.22 0.22 0.24 1"), ("top_plate_link", "0.70 0.66 0.48 1")):
        for mesh in urdf.find(root, "link", part).iterfind("visual/geometry/mesh"):
            path = urdf.coarse_mesh(mesh.get("filename", ""), _COARSE)
            urdf.paint(urdf.add_shape(link, "visual", filename=path), part, colour)
    for x, y in _WHEELS:
        wheel = urdf.add_shape(
            link, "visual", xyz=f"{x} {y} 0.03282", rpy="1.5708 0 0", length="0.1143", radius="0.17775"
        )
        urdf.paint(wheel, "wheel", "0.13 0.13 0.14 1")
    urdf.add_shape(link, "collision", xyz="0 0 0.115", size="0.81 0.57 0.22")
