"""A gripper of two fingers that slide apart and hold by friction."""

from collections.abc import Callable

import pybullet

from sim.bullet import Bullet
from sim.robots.base import TOUCH, Gripper, Hand

_FORCE = 40.0  # N
_FRICTION = 2.0
_SPARE = 0.026  # m: how much wider than the object it opens near others
_SQUEEZE = 0.012  # m: how much narrower than the object it would close
_RELEASE = 0.016  # m: how much it opens to let go
_CLOSE_STEPS, _RELEASE_STEPS = 24, 12


class Fingers(Gripper):
    """Both joints count half the distance between the pads, m.

    Args:
        bullet: the client that holds the robot.
        body: the robot.
        links: the fingers, which are also the numbers of their joints.
        widest: between the pads, m.
        hand: the room that it takes.
    """

    def __init__(
        self, bullet: Bullet, body: int, links: tuple[int, int], *, widest: float, hand: Hand
    ) -> None:
        self.hand = hand
        self._bullet, self._body, self._links = bullet, body, links
        self.widest = self.width = widest
        for finger in links:
            bullet.changeDynamics(body, finger, lateralFriction=_FRICTION)
        self._couple()

    def _couple(self) -> None:
        """Both fingers move alike, as one motor drives them: what they hold stays in the middle."""
        left, right = self._links
        axis, origin = (1, 0, 0), (0, 0, 0)
        gear = self._bullet.createConstraint(
            self._body, left, self._body, right, pybullet.JOINT_GEAR, axis, origin, origin
        )
        self._bullet.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=100)

    def lift(self, size: float) -> float:
        """A little above the middle."""
        return 0.1 * size

    def prepare(self, size: float) -> None:
        """Open a little wider than the object."""
        self.width = min(self.widest, size + _SPARE)
        self.drive()

    def grasp(self, body: int, size: float) -> int:  # noqa: ARG002
        """Close until the fingers press."""
        self.width = max(0.0, size - _SQUEEZE)
        return _CLOSE_STEPS

    def release(self, size: float) -> int:
        """Open a little."""
        self.width = min(self.widest, size + _RELEASE)
        return _RELEASE_STEPS

    def open(self) -> None:
        """As wide as possible; takes effect with the next motion."""
        self.width = self.widest

    def pose(self, size: float | None) -> None:
        """Stand so far apart, without physics."""
        self.width = self.widest if size is None else size
        for finger in self._links:
            self._bullet.resetJointState(self._body, finger, self.width / 2)

    def drive(self) -> None:
        """Send the width to the motors."""
        for finger in self._links:
            self._bullet.setJointMotorControl2(
                self._body,
                finger,
                pybullet.POSITION_CONTROL,
                targetPosition=self.width / 2,
                force=_FORCE,
                maxVelocity=0.3,
            )

    def touches(self, body: int) -> bool:
        """Whether a finger touches it."""
        return any(self._touching(body))

    def holds(self, body: int) -> bool:
        """Whether both fingers touch it."""
        return all(self._touching(body))

    def _touching(self, body: int) -> list[bool]:
        return [
            bool(self._bullet.getClosestPoints(self._body, body, TOUCH, linkIndexA=finger))
            for finger in self._links
        ]

    def remember(self) -> float:
        """The width that the motors aim at."""
        return self.width

    def recall(self, memory: float) -> None:
        """Aim at that width again."""
        self.width = memory

    def mirror(self, other: Gripper, twin_of: Callable[[int], int]) -> None:  # noqa: ARG002
        """Aim at the same width; the joints are mirrored already."""
        if not isinstance(other, Fingers):
            raise TypeError(f"expected fingers, got {type(other).__name__}")
        self.width = other.width
