"""The bodies of a scene, made of boxes and cylinders: table, items, trays, boxes, bowls, zones."""

import math

import pybullet

from sim.bullet import Bullet
from sim.scene import FLOOR, PAINT, WALL, Item, Receptacle

_MASS = 0.08  # kg
_ZONE_HEIGHT = 0.001  # m: thin as paint, thick enough to be drawn over the table
# A container's floor is darker than its walls, so that an object of the same colour shows on it
_FLOOR_SHADE = 0.42
_BOWL_SIDES = 8
_BOWL_LEAN = 0.40  # rad, outwards


def table(bullet: Bullet, rgb: tuple[float, float, float]) -> int:
    """The table: its top at z = 0, larger than what the cameras see."""
    half = (1.1, 1.2, 0.05)
    shape = bullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half)
    paint = bullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half, rgbaColor=(*rgb, 1))
    body: int = bullet.createMultiBody(0, shape, paint, (0.2, 0, -0.05))
    bullet.changeDynamics(body, -1, lateralFriction=1.0)
    return body


def item(bullet: Bullet, what: Item) -> int:
    """A cube, a cylinder or a crate that can be moved."""
    rgba = (*PAINT[what.colour], 1)
    half = what.size / 2
    if what.kind in ("block", "crate"):
        extents = [half, half, what.height / 2]
        shape = bullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=extents)
        paint = bullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=extents, rgbaColor=rgba)
    else:
        shape = bullet.createCollisionShape(pybullet.GEOM_CYLINDER, radius=half, height=what.size)
        paint = bullet.createVisualShape(
            pybullet.GEOM_CYLINDER, radius=half, length=what.size, rgbaColor=rgba
        )
    turn = (0, 0, math.sin(what.yaw / 2), math.cos(what.yaw / 2))
    body: int = bullet.createMultiBody(_MASS, shape, paint, (what.x, what.y, what.z), turn)
    bullet.changeDynamics(body, -1, lateralFriction=1.0, spinningFriction=0.003, rollingFriction=0.001)
    return body


def receptacle(bullet: Bullet, what: Receptacle) -> int:
    """A container that does not move, or a zone that is only paint."""
    centres, halves, turns = _parts(what)
    count = len(halves)
    floors = {"zone": 0, "bowl": 4}.get(what.kind, 1)
    rgba = [_shade(what.colour, _FLOOR_SHADE if i < floors else 1.0) for i in range(count)]
    boxes = [pybullet.GEOM_BOX] * count
    shape = -1
    if what.kind != "zone":
        shape = bullet.createCollisionShapeArray(
            boxes,
            halfExtents=halves,
            collisionFramePositions=centres,
            collisionFrameOrientations=turns,
        )
    paint = bullet.createVisualShapeArray(
        boxes,
        halfExtents=halves,
        rgbaColors=rgba,
        visualFramePositions=centres,
        visualFrameOrientations=turns,
    )
    turn = (0, 0, math.sin(what.yaw / 2), math.cos(what.yaw / 2))
    body: int = bullet.createMultiBody(0, shape, paint, (what.x, what.y, 0), turn)
    if shape >= 0:
        bullet.changeDynamics(body, -1, lateralFriction=0.8)
    return body


def _shade(colour: str, share: float) -> tuple[float, float, float, float]:
    r, g, b = PAINT[colour]
    return (r * share, g * share, b * share, 1.0)


Boxes = tuple[list[list[float]], list[list[float]], list[list[float]]]


def _parts(what: Receptacle) -> Boxes:
    """Centres, half extents and quaternions of the boxes that make a receptacle, floor first."""
    length, width = what.half
    if what.kind == "zone":
        return [[0, 0, _ZONE_HEIGHT / 2]], [[length, width, _ZONE_HEIGHT / 2]], [[0, 0, 0, 1]]
    if what.kind == "bowl":
        return _bowl(what)
    tall = what.wall_height / 2
    centres = [[0, 0, FLOOR / 2]]
    halves = [[length, width, FLOOR / 2]]
    for sign in (-1, 1):
        centres += [[sign * (length + WALL / 2), 0, tall], [0, sign * (width + WALL / 2), tall]]
        halves += [[WALL / 2, width + WALL, tall], [length, WALL / 2, tall]]
    return centres, halves, [[0, 0, 0, 1]] * len(halves)


def _bowl(what: Receptacle) -> Boxes:
    """An eight-sided bowl: a floor of two boxes and walls that lean outwards."""
    radius = what.half[0]
    side = radius * math.tan(math.pi / _BOWL_SIDES)
    half_turn = math.pi / _BOWL_SIDES
    centres = [[0.0, 0.0, FLOOR / 2], [0.0, 0.0, FLOOR / 2 - 0.0002]]
    halves = [[radius, side, FLOOR / 2], [side, radius, FLOOR / 2]]
    turns = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    diagonal = [0.0, 0.0, math.sin(half_turn), math.cos(half_turn)]
    centres += [[0.0, 0.0, FLOOR / 2 - 0.0004], [0.0, 0.0, FLOOR / 2 - 0.0006]]
    halves += [[radius, side, FLOOR / 2], [side, radius, FLOOR / 2]]
    turns += [diagonal, diagonal]
    slant = what.wall_height / 2 / math.cos(_BOWL_LEAN)
    out = radius + what.wall_height / 2 * math.tan(_BOWL_LEAN)
    for i in range(_BOWL_SIDES):
        angle = 2 * math.pi * i / _BOWL_SIDES
        centres.append([out * math.cos(angle), out * math.sin(angle), what.wall_height / 2])
        halves.append([WALL / 2, side + 0.008, slant])
        turns.append(list(_turn(angle, _BOWL_LEAN)))
    return centres, halves, turns


def _turn(yaw: float, lean: float) -> tuple[float, float, float, float]:
    """Quaternion of a lean about y followed by a turn about z."""
    cy, sy, cl, sl = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(lean / 2), math.sin(lean / 2)
    return (-sy * sl, cy * sl, sy * cl, cy * cl)
