"""A Franka Panda: seven joints, two fingers that hold by friction."""

import functools
import xml.etree.ElementTree as ET

from sim.robots import panda_kinematics as kinematics
from sim.robots import urdf
from sim.robots.base import Hand, Matrix, Robot, Vector
from sim.robots.fingers import Fingers

_FINGERS = ("panda_leftfinger", "panda_rightfinger")
_OPEN = 0.08  # m between the fingers
_PAD = (0.021, 0.016, 0.0538)  # m: a finger's width, thickness and length
_HAND = Hand(bottom=0.035, half=(0.104, 0.033), fingers=(0.014, 0.028))
_ARM_COLOUR, _HAND_COLOUR = "0.93 0.93 0.93 1", "0.35 0.36 0.38 1"


class Panda(Robot):
    """The URDF is pybullet_data's with its collision meshes as visuals: six times as fast."""

    name = "panda"
    description = "Franka Panda, seven joints, two fingers"
    driven = tuple(f"panda_joint{number}" for number in range(1, kinematics.JOINTS + 1))
    grasp_link = "panda_grasptarget"

    @classmethod
    @functools.cache
    def urdf(cls) -> str:
        """See Robot."""
        root = urdf.read("franka_panda/panda.urdf")
        urdf.show_collisions(
            root, lambda name: _HAND_COLOUR if "hand" in name or "finger" in name else _ARM_COLOUR
        )
        _simplify_fingers(root)
        return urdf.write(root, cls.name)

    def _make_gripper(self) -> Fingers:
        left, right = (self.link_of[name] for name in _FINGERS)
        return Fingers(self.bullet, self.body, (left, right), widest=_OPEN, hand=_HAND)

    @staticmethod
    def inverse(position: Vector, yaw: float) -> Vector | None:
        """Damped least squares from a fixed seed; see panda_kinematics."""
        return kinematics.inverse(position, yaw)

    @staticmethod
    def forward(joints: Vector) -> Matrix:
        """See Robot."""
        return kinematics.forward(joints)[0]


def _simplify_fingers(robot: ET.Element) -> None:
    """Give the fingers flat pads: Bullet's contacts between a box and the mesh can lock."""
    for name, side in zip(_FINGERS, (1, -1), strict=True):
        link = urdf.find(robot, "link", name)
        for collision in link.findall("collision"):
            link.remove(collision)
        size = " ".join(str(v) for v in _PAD)
        urdf.add_shape(link, "collision", xyz=f"0 {side * _PAD[1] / 2} {_PAD[2] / 2}", size=size)
