"""A suction cup: holds by a constraint between the cup and the object's upper side.

The lip gives way: it presses on nothing, so that a millimetre too deep does no harm.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pybullet

from sim.bullet import Bullet
from sim.robots.base import TOUCH, Gripper, Hand

_FORCE = 60.0  # N: a cup of 36 mm at 60% vacuum
_GAP = 0.0005  # m between the lip and what it shall grasp
_ON_STEPS, _OFF_STEPS = 12, 12

Place = tuple[tuple[float, float, float], tuple[float, float, float, float]]


@dataclass(frozen=True)
class Seal:
    """What hangs on the cup: a body, and where in the cup's frame."""

    body: int
    place: Place


@dataclass(frozen=True)
class Vacuum:
    """Whether the pump runs, and what it holds."""

    on: bool
    seal: Seal | None


class Suction(Gripper):
    """One cup at the end of a thin tube.

    Args:
        bullet: the client that holds the robot.
        body: the robot.
        cup: the cup's link, whose frame lies in the lip's middle and whose shape touches.
        hand: the room that the wrist above the tube takes.
    """

    def __init__(self, bullet: Bullet, body: int, cup: int, *, hand: Hand) -> None:
        self.hand = hand
        self._bullet, self._body, self._cup = bullet, body, cup
        self._on = False
        self._seal: Seal | None = None
        self._constraint: int | None = None
        bullet.setCollisionFilterGroupMask(body, cup, 0, 0)

    def lift(self, size: float) -> float:
        """On the upper side."""
        return size / 2 + _GAP

    def prepare(self, size: float) -> None:  # noqa: ARG002
        """The pump is off."""
        self.open()

    def grasp(self, body: int, size: float) -> int:  # noqa: ARG002
        """Switch on; holds the body if the lip touches it."""
        self._on = True
        if self.touches(body):
            self._attach(Seal(body, self._place_of(body)))
        return _ON_STEPS

    def release(self, size: float) -> int:  # noqa: ARG002
        """Switch off."""
        self.open()
        return _OFF_STEPS

    def open(self) -> None:
        """Switch off."""
        self._on = False
        self._detach()

    def pose(self, size: float | None) -> None:
        """Switch on or off without holding anything: what hangs there is posed by others."""
        self._detach()
        self._on = size is not None

    def drive(self) -> None:
        """No motor."""

    def touches(self, body: int) -> bool:
        """Whether the lip touches it."""
        return bool(self._bullet.getClosestPoints(self._body, body, TOUCH, linkIndexA=self._cup))

    def holds(self, body: int) -> bool:
        """Whether the pump runs and the lip is on it."""
        return self._on and self.touches(body)

    def remember(self) -> Vacuum:
        """The pump and the seal. The constraint is made anew: it has a memory of its own."""
        memory = Vacuum(self._on, self._seal)
        self.recall(memory)
        return memory

    def recall(self, memory: Vacuum) -> None:
        """The pump and the seal as they were."""
        self._detach()
        self._on = memory.on
        if memory.seal is not None:
            self._attach(memory.seal)

    def mirror(self, other: Gripper, twin_of: Callable[[int], int]) -> None:
        """Hold the twin of what the other holds."""
        if not isinstance(other, Suction):
            raise TypeError(f"expected a suction cup, got {type(other).__name__}")
        self.recall(Vacuum(other._on, other._seal and Seal(twin_of(other._seal.body), other._seal.place)))

    def _place_of(self, body: int) -> Place:
        cup = self._bullet.getLinkState(self._body, self._cup)[4:6]
        place: Place = pybullet.multiplyTransforms(
            *pybullet.invertTransform(*cup), *self._bullet.getBasePositionAndOrientation(body)
        )
        return place

    def _attach(self, seal: Seal) -> None:
        position, turn = seal.place
        self._constraint = self._bullet.createConstraint(
            self._body, self._cup, seal.body, -1, pybullet.JOINT_FIXED, (0, 0, 0), position, (0, 0, 0), turn
        )
        self._bullet.changeConstraint(self._constraint, maxForce=_FORCE)
        self._seal = seal

    def _detach(self) -> None:
        if self._constraint is not None:
            self._bullet.removeConstraint(self._constraint)
        self._constraint = self._seal = None
