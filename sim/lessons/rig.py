"""The pair of cameras as one thing that walks around the table: where it is, and what it sees from there.

Both cameras go together, so a picture holds two directions at a right angle, as a robot's pictures do: an
object's place can be told from one picture, and what the robot's arm hides from one camera the other sees.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sim.camera import View
from sim.language.lessons.explore import TURNS, Command

CENTRE = (0.485, 0.0)  # m: the middle of the table
# How many steps nearer or farther, higher or lower there are from the start, and what one does
STEPS = (-1, 1)
_NEARER, _HIGHER = 0.12, 0.22


@dataclass(frozen=True)
class Rig:
    """Where the pair of cameras is."""

    # degrees around the table from the start, seen from above counter-clockwise, 0 to 359
    heading: int = 0
    # steps: 1 is farther, or higher
    distance: int = 0
    height: int = 0

    def after(self, command: Command) -> "Rig":
        """Where it is after a command; ValueError: it would go too far."""
        if command.move in TURNS:
            # who looks at the table and goes to the left goes clockwise
            turn = -command.degrees if command.move == "left" else command.degrees
            return replace(self, heading=(self.heading + turn) % 360)
        moved = {
            "nearer": replace(self, distance=self.distance - 1),
            "farther": replace(self, distance=self.distance + 1),
            "up": replace(self, height=self.height + 1),
            "down": replace(self, height=self.height - 1),
        }[command.move]
        if not all(STEPS[0] <= steps <= STEPS[1] for steps in (moved.distance, moved.height)):
            raise ValueError(f"{command} leads too far from {self}")
        return moved

    def views(self, start: Iterable[View]) -> tuple[View, ...]:
        """What the cameras `start` become when the rig is here."""
        return tuple(self._moved(view) for view in start)

    def _moved(self, view: View) -> View:
        away = 1 + _NEARER * self.distance
        x, y, z = (t + away * (e - t) for e, t in zip(view.eye, view.target, strict=True))
        eye = (x, y, z * (1 + _HIGHER * self.height))
        return replace(view, eye=self._turned(eye), target=self._turned(view.target))

    def _turned(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        c, s = math.cos(math.radians(self.heading)), math.sin(math.radians(self.heading))
        x, y = point[0] - CENTRE[0], point[1] - CENTRE[1]
        return (CENTRE[0] + c * x - s * y, CENTRE[1] + s * x + c * y, point[2])
