"""A KUKA LBR iiwa: seven joints of which three stay at zero or mirror others, and a suction cup.

Source of the geometry: pybullet_data's kuka_iiwa/model.urdf.
"""

import functools
import math

import numpy as np

from sim.robots import urdf
from sim.robots.base import Hand, Matrix, Robot, Vector
from sim.robots.planar import half_turn, shift, turn_y, turn_z, two_links
from sim.robots.suction import Suction

_BASE_X = -0.08  # m: so far back, the elbow need not bend beyond its limit for near objects
_SHOULDER, _UPPER, _FORE = 0.36, 0.42, 0.40  # m: height, and from joint to joint
_TOOL = 0.246  # m from the wrist to the cup's lip
_FLANGE = 0.045  # m from joint 7 to its flange
_LIP = _TOOL - 0.081  # m from joint 7 to the lip
_LIMITS = np.radians([170.0, 120.0, 170.0, 120.0, 170.0, 120.0, 175.0])
_COARSE = 0.008  # m, grid of the visual meshes
_HAND = Hand(bottom=0.135, half=(0.05, 0.05))
_COLOURS = {"3": "0.30 0.31 0.34 1", "6": "0.30 0.31 0.34 1"}


class Kuka(Robot):
    """It holds from above, so it needs no room beside what it grasps."""

    name = "kuka"
    description = "KUKA LBR iiwa, seven joints, a suction cup"
    driven = tuple(f"lbr_iiwa_joint_{number}" for number in range(1, 8))
    grasp_link = "cup"
    base = (_BASE_X, 0.0, 0.0)
    carry_point = (0.36, 0.0, 0.305)

    @classmethod
    @functools.cache
    def urdf(cls) -> str:
        """See Robot."""
        root = urdf.read("kuka_iiwa/model.urdf")
        urdf.show_collisions(root, lambda name: _COLOURS.get(name[-1], "0.66 0.67 0.70 1"))
        urdf.coarsen(root, _COARSE)
        tube = urdf.add_link(root, "tube", 0.1)
        length = _LIP - _FLANGE - 0.02
        for kind in ("visual", "collision"):
            shape = urdf.add_shape(tube, kind, xyz=f"0 0 {length / 2}", length=str(length), radius="0.012")
            if kind == "visual":
                urdf.paint(shape, "tube", "0.20 0.20 0.22 1")
        cup = urdf.add_link(root, "cup", 0.02)
        for kind in ("visual", "collision"):
            shape = urdf.add_shape(cup, kind, xyz="0 0 -0.01", length="0.02", radius="0.018")
            if kind == "visual":
                urdf.paint(shape, "cup", "0.12 0.12 0.12 1")
        urdf.add_joint(root, "flange", "fixed", "lbr_iiwa_link_7", "tube", xyz=f"0 0 {_FLANGE}")
        urdf.add_joint(root, "lip", "fixed", "tube", "cup", xyz=f"0 0 {_LIP - _FLANGE}")
        return urdf.write(root, cls.name)

    def _make_gripper(self) -> Suction:
        return Suction(self.bullet, self.body, self.link_of["cup"], hand=_HAND)

    @staticmethod
    def inverse(position: Vector, yaw: float) -> Vector | None:
        """Exact: joints 3 and 5 stay at zero, so that the arm is two links in a plane."""
        x, y, z = position
        bearing = math.atan2(y, x - _BASE_X)
        tilts = two_links(_UPPER, _FORE, math.hypot(x - _BASE_X, y), z + _TOOL - _SHOULDER)
        if tilts is None:
            return None
        upper, fore = tilts
        joints = np.array([bearing, upper, 0.0, upper - fore, 0.0, math.pi - fore, half_turn(bearing - yaw)])
        return joints if bool((np.abs(joints) < _LIMITS).all()) else None

    @staticmethod
    def forward(joints: Vector) -> Matrix:
        """See Robot. Joints 2 and 6 tilt forward, joint 4 back."""
        q1, q2, q3, q4, q5, q6, q7 = joints
        pose = shift(_BASE_X, 0, _SHOULDER) @ turn_z(q1) @ turn_y(q2) @ shift(0, 0, _UPPER) @ turn_z(q3)
        pose = pose @ turn_y(-q4) @ shift(0, 0, _FORE) @ turn_z(q5) @ turn_y(q6)
        end: Matrix = pose @ turn_z(q7) @ shift(0, 0, _TOOL)
        return end
