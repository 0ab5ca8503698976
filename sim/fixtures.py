"""Drawers, cabinets and buttons: where their moving parts are. Geometry alone, no physics.

A fraction tells how far one has moved: 0 closed, 1 open; of a lamp: 0 dark, 1 lit (risen).
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from sim.scene import DRAWER_TRAVEL, KNOB_REACH, WALL, Button, Pose, Receptacle, Scene

OPEN_FROM, CLOSED_TO = 0.94, 0.06  # fractions: between them it stands ajar
LID_SWING = math.radians(96)  # of a cabinet's lid, from closed to open
LAMP_RISE = 0.022  # m
CAP_TRAVEL = 0.012  # m that a button goes down
CAP_TOP = 0.040  # m above the table
CAP_AT, LAMP_AT = -0.018, 0.022  # m along the button's own x axis
KNOB_RADIUS = 0.009  # m
# Where the gripper's fingers hold a knob, m above the table
KNOB_GRASP = {"drawer": 0.046, "cabinet": 0.080}
LID = (0.0565, 0.0625)  # m: lower and upper side of a cabinet's lid
ROOF = (0.0585, 0.0635)  # m: the same of a drawer's case
# Of a hand above its grasp point, m, for the widest of the robots: lower side, half along and across
_HAND_BOTTOM, _HAND_HALF = 0.035, (0.104, 0.040)
_KNOB_INSET = 0.020  # m from a lid's edge

Point = tuple[float, float, float]


def moved(receptacle: Receptacle, fraction: float) -> Receptacle:
    """The receptacle where its inside is now: a drawer's slides, a cabinet's stays."""
    if receptacle.kind != "drawer" or fraction == 1.0:
        return receptacle
    x, y = world_point(receptacle, 0.0, (fraction - 1.0) * DRAWER_TRAVEL)
    return replace(receptacle, x=x, y=y)


def knob(receptacle: Receptacle, fraction: float) -> Point:
    """Where its knob is to be grasped."""
    u, v = receptacle.half[0] + WALL, receptacle.half[1] + WALL
    if receptacle.kind == "drawer":
        at = (0.0, v + KNOB_REACH - KNOB_RADIUS - 0.001 + (fraction - 1.0) * DRAWER_TRAVEL)
    else:
        along, across = lid_knob(receptacle)
        c, s = math.cos(fraction * LID_SWING), math.sin(fraction * LID_SWING)
        at = (-u + c * along - s * across, -v + s * along + c * across)
    return (*world_point(receptacle, *at), KNOB_GRASP[receptacle.kind])


def lid_knob(receptacle: Receptacle) -> tuple[float, float]:
    """A closed lid's knob, seen from the hinge, in the cabinet's axes, m."""
    return 2 * (receptacle.half[0] + WALL) - _KNOB_INSET, receptacle.half[1] + WALL


def swept(receptacle: Receptacle, x: float, y: float, margin: float) -> bool:
    """Whether a point of the table lies where opening it leads its lid or its front."""
    u, v = receptacle.local(x, y)
    half_u, half_v = receptacle.half[0] + WALL, receptacle.half[1] + WALL
    if receptacle.kind == "drawer":
        return abs(u) < half_u + margin and -half_v - margin < v < half_v + KNOB_REACH + margin
    from_hinge = (u + half_u, v + half_v)
    bearing = math.atan2(from_hinge[1], from_hinge[0])
    far = math.hypot(2 * half_u, 2 * half_v) + margin
    return math.hypot(*from_hinge) < far and -0.1 < bearing < math.pi


def pile_near(scene: Scene, poses: Mapping[str, Pose], at: Point, yaw: float) -> str | None:
    """An object so high that the hand would hit it while the fingers are at a point, turned by `yaw`."""
    x, y, z = at
    for item in scene.items:
        ox, oy, oz = poses[item.name].position
        if oz + item.height / 2 > z + _HAND_BOTTOM:
            along = abs((ox - x) * math.sin(yaw) - (oy - y) * math.cos(yaw)) - _HAND_HALF[0]
            across = abs((ox - x) * math.cos(yaw) + (oy - y) * math.sin(yaw)) - _HAND_HALF[1]
            if max(along, across) < 0.65 * item.size:
                return item.name
    return None


def pile_in_the_way(scene: Scene, poses: Mapping[str, Pose], what: Receptacle | Button) -> str | None:
    """An object so high that the hand would hit it where this is opened, closed or pressed."""
    if isinstance(what, Button):
        return pile_near(scene, poses, cap(what), what.yaw)
    places = [knob(what, fraction) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0)]
    found = (pile_near(scene, poses, place, hand_yaw(what)) for place in places)
    return next((name for name in found if name is not None), None)


def hand_yaw(what: Receptacle) -> float:
    """The gripper's turn at a knob: its fingers across a drawer's way, along the middle of a lid's.

    So a finger is always behind the lid's knob, at most half the swing off the way.
    """
    if what.kind == "drawer":
        return what.yaw + math.pi / 2
    along, across = lid_knob(what)
    return what.yaw + math.atan2(across, along) + LID_SWING / 2


def cap(button: Button) -> Point:
    """The middle of a button's cap, on top."""
    x = button.x + CAP_AT * math.cos(button.yaw)
    y = button.y + CAP_AT * math.sin(button.yaw)
    return (x, y, CAP_TOP)


def world_point(thing: Receptacle, u: float, v: float) -> tuple[float, float]:
    """A point in the thing's own axes as a world point (x, y)."""
    c, s = math.cos(thing.yaw), math.sin(thing.yaw)
    return thing.x + c * u - s * v, thing.y + s * u + c * v
