"""What the simulator needs of a robot: joints that go where they are told, kinematics, a gripper.

A new robot is a subclass of Robot with a URDF, two functions of kinematics and a Gripper. Knows
joints and metres; no object, no task, no scene.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pybullet
from numpy.typing import NDArray

from sim.bullet import Bullet

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FREE_SPEED = 0.045  # rad a step: the fastest joint, at the middle of a motion
CARRY_SPEED = 0.030
TOUCH_SPEED = 0.012  # on the last centimetres before a grasp or a release, and the first after

TOUCH = 0.0025  # m: nearer than that is contact (Bullet rests boxes up to 1 mm apart)
_NEAR = 0.15  # m from the grasp point: farther away nothing of the gripper touches an object
_ARM_FORCE = 1500.0  # N m or N: tracks fast motions; the arm is a means here, not studied
_ARM_GAIN = 0.4
_ROUGH = 0.05  # rad: how near the joints come before the next leg begins


@dataclass(frozen=True)
class Hand:
    """How much room a gripper takes beside what it grasps, in a box turned with it."""

    # m: the hand's lower side above the grasped object's centre
    bottom: float
    # m: half extents of the hand along and across the direction in which fingers move
    half: tuple[float, float]
    # m beyond the object's side: points on each finger, near to far; none without fingers
    fingers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What a robot remembers besides Bullet's saved state: motor targets and the grasp."""

    target: Vector
    grip: Any


class Gripper(ABC):
    """What a robot grasps with. Sizes are those of the object, in m."""

    hand: Hand

    @abstractmethod
    def lift(self, size: float) -> float:
        """How far above an object's centre the grasp point has to be, m."""

    @abstractmethod
    def prepare(self, size: float) -> None:
        """Make ready to go around an object of that size, no wider than needed."""

    @abstractmethod
    def grasp(self, body: int, size: float) -> int:
        """Begin to hold a body; returns how many steps that takes. It may fail: see `holds`."""

    @abstractmethod
    def release(self, size: float) -> int:
        """Begin to let go; returns how many steps that takes."""

    @abstractmethod
    def open(self) -> None:
        """Open wide, or switch off."""

    @abstractmethod
    def pose(self, size: float | None) -> None:
        """Be, without physics, as around an object of that size; None: open."""

    @abstractmethod
    def drive(self) -> None:
        """Send the present targets to the motors."""

    @abstractmethod
    def touches(self, body: int) -> bool:
        """Whether any part that grasps touches a body."""

    @abstractmethod
    def holds(self, body: int) -> bool:
        """Whether it grips a body: what carries the body, if nothing else does."""

    @abstractmethod
    def remember(self) -> Any:
        """What `recall` needs to continue from here."""

    @abstractmethod
    def recall(self, memory: Any) -> None:
        """Be again as when it was remembered; Bullet's own state is restored already."""

    @abstractmethod
    def mirror(self, other: "Gripper", twin_of: Callable[[int], int]) -> None:
        """Become what another world's gripper is; `twin_of` gives this world's body for the other's."""


class Robot(ABC):
    """A robot that stands at the table. Vectors of joints have `len(self.driven)` values, rad (or m).

    Args:
        bullet: the client that holds it.
        step: advances the world by one step of time.

    Attributes:
        body: its number in Bullet.
        link_of: numbers of its links by name.
        target: the vector that the motors aim at.
        home, carry: vectors at `home_point` and `carry_point`, gripper down.
    """

    # the word by which scenes, records and commands call it
    name: ClassVar[str]
    # what it is, in words
    description: ClassVar[str]
    # names of the joints that a vector counts, in its order
    driven: ClassVar[tuple[str, ...]]
    # rad in which a unit of each joint counts when speeds are compared
    pace: ClassVar[tuple[float, ...] | None] = None
    # name of the link whose frame is the grasp point
    grasp_link: ClassVar[str]
    # where every pick ends: the held object hangs in clear view of both cameras
    carry_point: ClassVar[tuple[float, float, float]] = (0.36, 0.0, 0.28)
    # where every place ends: out of the way of both cameras
    home_point: ClassVar[tuple[float, float, float]] = (0.30, 0.0, 0.46)
    # of the URDF's root link, m
    base: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)

    gripper: Gripper

    def __init__(self, bullet: Bullet, step: Callable[[], None]) -> None:
        self.bullet, self._step = bullet, step
        self.body: int = bullet.loadURDF(self.urdf(), self.base, useFixedBase=True)
        numbers = range(bullet.getNumJoints(self.body))
        told = [bullet.getJointInfo(self.body, number) for number in numbers]
        joint_of = {info[1].decode(): info[0] for info in told}
        # a link has the number of the joint that carries it
        self.link_of = {info[12].decode(): info[0] for info in told}
        self._joints = [joint_of[name] for name in self.driven]
        self._grasp_link = self.link_of[self.grasp_link]
        self.gripper = self._make_gripper()
        self.carry, self.home = self._pose_at(self.carry_point), self._pose_at(self.home_point)
        self.target = self.home.copy()
        self.pose(self.home, None)

    # ---- what a robot has to say

    @classmethod
    @abstractmethod
    def urdf(cls) -> str:
        """Path of its URDF, with visual meshes that render fast."""

    @abstractmethod
    def _make_gripper(self) -> Gripper: ...

    @staticmethod
    @abstractmethod
    def inverse(position: Vector, yaw: float) -> Vector | None:
        """Joints that bring the grasp point to `position` (m, world), gripper down, turned by `yaw`.

        A function of its arguments alone. Half a turn more is as good. None: out of reach.
        """

    @staticmethod
    @abstractmethod
    def forward(joints: Vector) -> Matrix:
        """Pose [4, 4] of the grasp point in the world."""

    def legs(self, joints: Vector) -> list[Vector]:
        """The way from the present target: straight there, unless a robot has to go around."""
        return [joints]

    # ---- what all robots do alike

    @classmethod
    @functools.cache
    def _pose_at(cls, point: tuple[float, float, float]) -> Vector:
        joints = cls.inverse(np.array(point), 0.0)
        if joints is None:
            raise AssertionError(f"{cls.name} has no pose at {point}")
        return joints

    def pose(self, joints: Vector, size: float | None) -> None:
        """Be there at once, without physics, around an object of that size (None: open)."""
        for joint, value in zip(self._joints, joints, strict=True):
            self.bullet.resetJointState(self.body, joint, float(value))
        self.gripper.pose(size)
        self.target = joints.copy()
        self.drive()

    def joints(self) -> Vector:
        """Present joints."""
        return np.array([s[0] for s in self.bullet.getJointStates(self.body, self._joints)])

    def drive(self, speed: Vector | None = None) -> None:
        """Send the present targets to the motors (they are no part of Bullet's saved state)."""
        count = len(self._joints)
        self.bullet.setJointMotorControlArray(
            self.body,
            self._joints,
            pybullet.POSITION_CONTROL,
            targetPositions=self.target.tolist(),
            targetVelocities=(np.zeros(count) if speed is None else speed).tolist(),
            forces=[_ARM_FORCE] * count,
            positionGains=[_ARM_GAIN] * count,
        )
        self.gripper.drive()

    def move(self, joints: Vector, speed: float = FREE_SPEED, tolerance: float = 0.01) -> None:
        """Go there in joint space: smooth start and stop, `speed` rad a step at the fastest.

        Ends when every joint is within `tolerance` (rad) of its target.
        """
        *around, last = self.legs(joints)
        for leg in around:
            self._move_straight(leg, speed, _ROUGH)
        self._move_straight(last, speed, tolerance)

    def _move_straight(self, joints: Vector, speed: float, tolerance: float) -> None:
        start, change = self.target, joints - self.target
        longest = np.abs(change if self.pace is None else change * self.pace).max()
        steps = max(4, int(np.ceil(1.5 * longest / speed)))
        for i in range(1, steps + 1):
            t = i / steps
            self.target = start + change * (t * t * (3 - 2 * t))
            self.drive(change * (6 * t * (1 - t) / steps * 240.0))
            self._step()
        for _ in range(30):
            if np.abs(self.joints() - joints).max() < tolerance:
                break
            self._step()

    def grasp(self, body: int, size: float) -> None:
        """Grasp the body that the grasp point is at."""
        self._wait(self.gripper.grasp(body, size))

    def release(self, size: float) -> None:
        """Let go of what is held."""
        self._wait(self.gripper.release(size))

    def _wait(self, steps: int) -> None:
        self.drive()
        for _ in range(steps):
            self._step()

    # ---- what is true

    def touches(self, body: int) -> bool:
        """Whether the gripper touches a body."""
        return self._near(body) and self.gripper.touches(body)

    def holds(self, body: int) -> bool:
        """Whether the gripper grips a body."""
        return self._near(body) and self.gripper.holds(body)

    def _near(self, body: int) -> bool:
        place = self.bullet.getBasePositionAndOrientation(body)[0]
        grasp_point = self.bullet.getLinkState(self.body, self._grasp_link)[4]
        return float(np.linalg.norm(np.subtract(place, grasp_point))) <= _NEAR

    # ---- remembering

    def remember(self) -> Memory:
        """What Bullet's saved state lacks."""
        return Memory(self.target.copy(), self.gripper.remember())

    def recall(self, memory: Memory) -> None:
        """Be again as when it was remembered."""
        self.target = memory.target.copy()
        self.gripper.recall(memory.grip)
        self.drive()

    def mirror(self, other: "Robot", twin_of: Callable[[int], int]) -> None:
        """Become what the same robot is in another world; see Gripper.mirror."""
        for joint in range(self.bullet.getNumJoints(self.body)):
            angle, speed = other.bullet.getJointState(other.body, joint)[:2]
            self.bullet.resetJointState(self.body, joint, angle, speed)
        self.target = other.target.copy()
        self.gripper.mirror(other.gripper, twin_of)
        self.drive()
