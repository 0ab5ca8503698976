"""Geometry that arms with a downward gripper share: two links in a vertical plane, and turns.

Angles of links are from the vertical, towards the target.
"""

import math

import numpy as np

from sim.robots.base import Matrix


def two_links(upper: float, fore: float, out: float, up: float) -> tuple[float, float] | None:
    """Angles of both links whose end is `out` and `up` (m) from the shoulder, the elbow up.

    Law of cosines. None: too far, or too near.
    """
    distance = math.hypot(out, up)
    if not abs(upper - fore) < distance < upper + fore:
        return None
    towards = math.atan2(out, up)
    at_shoulder = math.acos((upper**2 + distance**2 - fore**2) / (2 * upper * distance))
    at_elbow = math.acos((upper**2 + fore**2 - distance**2) / (2 * upper * fore))
    first = towards - at_shoulder
    return first, first + math.pi - at_elbow


def half_turn(angle: float) -> float:
    """The same angle within a quarter turn of zero, up to half turns, rad."""
    return (angle + math.pi / 2) % math.pi - math.pi / 2


def turn_z(angle: float) -> Matrix:
    """A turn [4, 4] about z."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)


def turn_y(angle: float) -> Matrix:
    """A turn [4, 4] about y."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], dtype=float)


def shift(x: float, y: float, z: float) -> Matrix:
    """A translation [4, 4], m."""
    moved = np.eye(4)
    moved[:3, 3] = x, y, z
    return moved
