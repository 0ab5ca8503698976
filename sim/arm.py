"""A Franka Panda in one Bullet world: loads it, moves its joints, opens and closes its gripper.

Knows joints and metres; no object, no task. The URDF is pybullet_data's with its visual meshes
replaced by the collision meshes, which render six times as fast.
"""

import copy
import functools
import os
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pybullet
import pybullet_data

from sim.bullet import Bullet
from sim.kinematics import JOINTS, Vector, inverse

FINGERS = (9, 10)  # link and joint numbers in the URDF
GRASP_POINT = 11  # link between the finger tips
_ARM = list(range(JOINTS))
_ARM_FORCE = [1500.0] * JOINTS  # N m: tracks fast motions; the arm is a means here, not studied
_ARM_GAIN = [0.4] * JOINTS
_FINGER_FORCE = 40.0  # N
_FINGER_FRICTION = 2.0
_PAD = (0.021, 0.016, 0.0538)  # m: a finger's width, thickness and length
OPEN = 0.08  # m between the fingers
FREE_SPEED = 0.045  # rad a step: the fastest joint, at the middle of a motion
CARRY_SPEED = 0.030
TOUCH_SPEED = 0.012  # on the last centimetres before a grasp or a release, and the first after

_LINK_COLOURS = ("0.93 0.93 0.93 1", "0.35 0.36 0.38 1")  # the arm; hand and fingers


@functools.cache
def _light_urdf() -> str:
    """Write the light URDF once a process; the file goes when Python ends."""
    folder = os.path.join(pybullet_data.getDataPath(), "franka_panda")
    tree = ET.parse(os.path.join(folder, "panda.urdf"))
    for link in tree.getroot().iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        colour = _LINK_COLOURS["hand" in link.get("name", "") or "finger" in link.get("name", "")]
        for collision in link.findall("collision"):
            visual = ET.SubElement(link, "visual")
            visual.extend(copy.deepcopy(part) for part in collision if part.tag in ("origin", "geometry"))
            material = ET.SubElement(visual, "material", name=f"{link.get('name')}_paint")
            ET.SubElement(material, "color", rgba=colour)
    _simplify_fingers(tree.getroot())
    for mesh in tree.getroot().iter("mesh"):
        name = mesh.get("filename", "").removeprefix("package://")
        mesh.set("filename", os.path.join(folder, name))
    _light_urdf.folder = tempfile.TemporaryDirectory(prefix="emu_sim_")  # type: ignore[attr-defined]
    path = os.path.join(_light_urdf.folder.name, "panda.urdf")  # type: ignore[attr-defined]
    tree.write(path)
    return path


def _simplify_fingers(robot: ET.Element) -> None:
    """Give the fingers flat pads: Bullet's contacts between a box and the mesh can lock."""
    for name, side in (("panda_leftfinger", 1), ("panda_rightfinger", -1)):
        collision = robot.find(f"link[@name='{name}']/collision")
        if collision is None:
            raise RuntimeError(f"the Panda of this pybullet_data has no link {name}; install 3.2.5 or later")
        collision.clear()
        ET.SubElement(collision, "origin", xyz=f"0 {side * _PAD[1] / 2} {_PAD[2] / 2}", rpy="0 0 0")
        geometry = ET.SubElement(collision, "geometry")
        ET.SubElement(geometry, "box", size=" ".join(str(v) for v in _PAD))


def _solve(x: float, z: float) -> Vector:
    joints = inverse(np.array([x, 0.0, z]), 0.0)
    if joints is None:
        raise AssertionError(f"no pose of the arm at x {x}, z {z}")
    return joints


# Where every pick ends: the held object hangs in clear view of both cameras, before the workspace
CARRY_POINT = np.array([0.36, 0.0, 0.28])
CARRY = _solve(*CARRY_POINT[[0, 2]])
# Where every place ends: out of the way of both cameras
HOME = _solve(0.30, 0.46)


class Arm:
    """The arm's joints and gripper.

    Args:
        bullet: the client that holds it.
        step: advances the world by one step of time.
    """

    def __init__(self, bullet: Bullet, step: Callable[[], None]) -> None:
        self._bullet, self._step = bullet, step
        self.body: int = bullet.loadURDF(_light_urdf(), useFixedBase=True)
        for finger in FINGERS:
            bullet.changeDynamics(self.body, finger, lateralFriction=_FINGER_FRICTION)
        self._couple_fingers()
        self.target = HOME.copy()
        self.width = OPEN
        self.pose(HOME, OPEN)

    def _couple_fingers(self) -> None:
        """Both fingers move alike, as one motor drives them: what they hold stays in the middle."""
        left, right = FINGERS
        axis, origin = (1, 0, 0), (0, 0, 0)
        gear = self._bullet.createConstraint(
            self.body, left, self.body, right, pybullet.JOINT_GEAR, axis, origin, origin
        )
        self._bullet.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=100)

    def pose(self, joints: Vector, width: float) -> None:
        """Put the joints there at once, without physics, and let the motors hold them."""
        for joint in _ARM:
            self._bullet.resetJointState(self.body, joint, float(joints[joint]))
        for finger in FINGERS:
            self._bullet.resetJointState(self.body, finger, width / 2)
        self.target, self.width = joints.copy(), width
        self.drive()

    def joints(self) -> Vector:
        """Angles of the seven joints, rad."""
        return np.array([s[0] for s in self._bullet.getJointStates(self.body, _ARM)])

    def opening(self) -> float:
        """Distance between the fingers, m."""
        return float(sum(s[0] for s in self._bullet.getJointStates(self.body, FINGERS)))

    def drive(self, speed: Vector | None = None) -> None:
        """Send the present targets to the motors (they are no part of Bullet's saved state)."""
        self._bullet.setJointMotorControlArray(
            self.body,
            _ARM,
            pybullet.POSITION_CONTROL,
            targetPositions=self.target.tolist(),
            targetVelocities=(np.zeros(JOINTS) if speed is None else speed).tolist(),
            forces=_ARM_FORCE,
            positionGains=_ARM_GAIN,
        )
        for finger in FINGERS:
            self._bullet.setJointMotorControl2(
                self.body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=self.width / 2,
                force=_FINGER_FORCE,
                maxVelocity=0.3,
            )

    def move(self, joints: Vector, speed: float = FREE_SPEED, tolerance: float = 0.01) -> None:
        """Go there in joint space: smooth start and stop, `speed` rad a step at the fastest.

        Ends when every joint is within `tolerance` (rad) of its target.
        """
        start, change = self.target, joints - self.target
        steps = max(4, int(np.ceil(1.5 * np.abs(change).max() / speed)))
        for i in range(1, steps + 1):
            t = i / steps
            self.target = start + change * (t * t * (3 - 2 * t))
            self.drive(change * (6 * t * (1 - t) / steps * 240.0))
            self._step()
        for _ in range(30):
            if np.abs(self.joints() - joints).max() < tolerance:
                break
            self._step()

    def grip(self, width: float, steps: int) -> None:
        """Bring the fingers to `width` (m) apart; against an object they press."""
        self.width = max(0.0, min(OPEN, width))
        self.drive()
        for _ in range(steps):
            self._step()
