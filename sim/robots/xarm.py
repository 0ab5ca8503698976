"""A UFACTORY xArm 6 on a pedestal: six joints, a gripper with two fingers that hold by friction.

Source of the geometry: pybullet_data's xarm/xarm6_with_gripper.urdf. The gripper's linkage, which
keeps its fingers parallel, is replaced by two sliding joints; the knuckles are left out.
"""

import functools
import math

import numpy as np

from sim.robots import urdf
from sim.robots.base import Hand, Matrix, Robot, Vector
from sim.robots.fingers import Fingers
from sim.robots.planar import half_turn, shift, turn_y, turn_z, two_links

SHOULDER = 0.267  # m above the arm's base
_UPPER, _UPPER_LEAN = math.hypot(0.0535, 0.2845), math.atan2(0.0535, 0.2845)
_FORE, _FORE_LEAN = math.hypot(0.0775, 0.3425), math.atan2(0.0775, -0.3425)
_WRIST_OUT = 0.076  # m from joint 5 to the axis of joint 6
# m along that axis to the grasp point: to the flange, the fingers' joints, the pads' middle
_FLANGE, _FINGER_JOINT, _GRASP = 0.097, 0.101137, 0.152
_TOOL = _FLANGE + _GRASP
_LOWER = np.array([-6.28, -2.059, -3.927, -6.28, -1.69297, -6.28])
_UPPER_LIMIT = np.array([6.28, 2.0944, 0.19198, 6.28, 3.14159, 6.28])

_INNER = 0.026  # m from a finger's frame to its pad
_OPEN = 0.085  # m between the pads
_PAD = "0.030 0.014 0.046"
# pads that give a little and hold what lies flat on them; as in the Panda's URDF
_RUBBER = {"stiffness": "30000", "damping": "1000", "spinning_friction": "0.1", "friction_anchor": "1"}
_HAND = Hand(bottom=0.040, half=(0.072, 0.040), fingers=(0.014, 0.028))
_COARSE_ARM, _COARSE_FINGER = 0.015, 0.006  # m, grids of the visual meshes
_PEDESTAL = (0.04, 0.0, 0.12)  # m: the arm's base

JOINTS = tuple(f"joint{number}" for number in range(1, 7))
FINGERS = ("left_finger", "right_finger")


def arm_tree(arm_colour: str, finger_colour: str) -> urdf.Element:
    """The arm and its gripper as a URDF, from `link_base`; the root link `world` carries nothing."""
    root = urdf.read("xarm/xarm6_with_gripper.urdf")
    for side in ("left", "right"):
        for tag, name in (
            ("link", "outer_knuckle"), ("link", "inner_knuckle"), ("joint", "inner_knuckle_joint"),
            ("joint", "finger_joint"),
        ):  # fmt: skip
            root.remove(urdf.find(root, tag, f"{side}_{name}"))
    root.remove(urdf.find(root, "joint", "drive_joint"))
    root.remove(urdf.find(root, "joint", "right_outer_knuckle_joint"))
    urdf.show_collisions(root, lambda name: finger_colour if "finger" in name else arm_colour)
    for name, sign in zip(FINGERS, (1, -1), strict=True):
        _slide(root, name, sign)
    _simplify_hand(urdf.find(root, "link", "xarm_gripper_base_link"))
    urdf.coarsen(root, _COARSE_ARM)
    urdf.add_link(root, "grasp", 0.001, 1e-6)
    urdf.add_joint(root, "grasp_fix", "fixed", "xarm_gripper_base_link", "grasp", xyz=f"0 0 {_GRASP}")
    return root


def _slide(root: urdf.Element, name: str, side: int) -> None:
    """Let a finger slide sideways, and give it a flat pad."""
    link = urdf.find(root, "link", name)
    for mesh in link.iterfind("visual/geometry/mesh"):
        mesh.set("filename", urdf.coarse_mesh(mesh.get("filename", ""), _COARSE_FINGER))
    for collision in link.findall("collision"):
        link.remove(collision)
    urdf.add_shape(link, "collision", xyz=f"0 {-side * (_INNER - 0.007)} 0.038", size=_PAD)
    contact = urdf.Element("contact")
    for tag, value in _RUBBER.items():
        contact.append(urdf.Element(tag, value=value))
    link.insert(0, contact)
    # lighter than this, or with its weight beside the pads, the coupled fingers creep to one side
    urdf.find(link, "inertial/origin").set("xyz", "0 0 0.03")
    urdf.find(link, "inertial/mass").set("value", "0.1")
    urdf.add_joint(
        root, f"{name}_slide", "prismatic", "xarm_gripper_base_link", name,
        xyz=f"0 {side * _INNER} {_FINGER_JOINT}", axis=f"0 {side} 0", limits=(0.0, _OPEN / 2),
    )  # fmt: skip


def _simplify_hand(link: urdf.Element) -> None:
    for collision in link.findall("collision"):
        link.remove(collision)
    urdf.add_shape(link, "collision", xyz="0 0 0.047", size="0.060 0.102 0.112")


def make_fingers(robot: Robot) -> Fingers:
    """The gripper of a robot that carries this arm."""
    left, right = (robot.link_of[name] for name in FINGERS)
    return Fingers(robot.bullet, robot.body, (left, right), widest=_OPEN, hand=_HAND)


def arm_inverse(position: Vector, yaw: float) -> Vector | None:
    """The six joints for a grasp point in the arm's base frame, gripper down; see Robot.inverse.

    Exact: joint 4 stays at zero, so that the arm is two links in a plane.
    """
    x, y, z = position
    bearing = math.atan2(y, x)
    tilts = two_links(_UPPER, _FORE, math.hypot(x, y) - _WRIST_OUT, z + _TOOL - SHOULDER)
    if tilts is None:
        return None
    second = tilts[0] - _UPPER_LEAN
    third = tilts[1] - _FORE_LEAN - second
    joints = np.array([bearing, second, third, 0.0, -second - third, half_turn(bearing - yaw)])
    return joints if bool((joints > _LOWER).all() and (joints < _UPPER_LIMIT).all()) else None


def arm_forward(joints: Vector) -> Matrix:
    """Pose [4, 4] of the grasp point in the arm's base frame."""
    q1, q2, q3, q4, q5, q6 = joints
    pose = shift(0, 0, SHOULDER) @ turn_z(q1) @ turn_y(q2) @ shift(0.0535, 0, 0.2845) @ turn_y(q3)
    # from here on z points along the forearm, down when all joints are zero
    pose = pose @ shift(0.0775, 0, -0.3425) @ np.diag([1.0, -1.0, -1.0, 1.0]) @ turn_z(q4)
    pose = pose @ turn_y(-q5) @ shift(_WRIST_OUT, 0, 0)
    end: Matrix = pose @ turn_z(q6) @ shift(0, 0, _TOOL)
    return end


class XArm(Robot):
    """The arm stands on a pedestal, nearer to the objects than the larger arms."""

    name = "xarm"
    description = "UFACTORY xArm 6 on a pedestal, six joints, two fingers"
    driven = JOINTS
    grasp_link = "grasp"

    @classmethod
    @functools.cache
    def urdf(cls) -> str:
        """See Robot."""
        root = arm_tree("0.96 0.96 0.97 1", "0.45 0.46 0.48 1")
        x, y, z = _PEDESTAL
        root.remove(urdf.find(root, "joint", "world_joint"))
        urdf.add_joint(root, "pedestal", "fixed", "world", "link_base", xyz=f"{x} {y} {z}")
        world = urdf.find(root, "link", "world")
        foot = urdf.add_shape(world, "visual", xyz=f"{x} {y} {z / 2}", size=f"0.15 0.15 {z}")
        urdf.paint(foot, "pedestal", "0.30 0.30 0.32 1")
        return urdf.write(root, cls.name)

    def _make_gripper(self) -> Fingers:
        return make_fingers(self)

    @staticmethod
    def inverse(position: Vector, yaw: float) -> Vector | None:
        """See arm_inverse."""
        return arm_inverse(position - _PEDESTAL, yaw)

    @staticmethod
    def forward(joints: Vector) -> Matrix:
        """See Robot."""
        return shift(*_PEDESTAL) @ arm_forward(joints)
