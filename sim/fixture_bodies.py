"""Bodies with a moving part, from generated URDFs: drawer, cabinet with a swinging lid, button.

Knows Bullet and geometry; neither robot nor task. Joint 0 is what moves; a button's joint 1 is its
lamp, which rises out of the base when it is lit.
"""

import functools
import os
import tempfile

import pybullet

from sim.bullet import Bullet
from sim.fixtures import (
    CAP_AT,
    CAP_TOP,
    CAP_TRAVEL,
    KNOB_GRASP,
    KNOB_RADIUS,
    LAMP_AT,
    LAMP_RISE,
    LID,
    LID_SWING,
    ROOF,
    lid_knob,
)
from sim.scene import (
    BUTTON_HALF,
    CASE,
    DRAWER_TRAVEL,
    FLOOR,
    KNOB_REACH,
    PAINT,
    WALL,
    Button,
    Pose,
    Receptacle,
)

CAP, LAMP = 0, 1  # a button's joints; what opens moves by joint 0
_FRICTION = {"drawer": 1.5, "cabinet": 0.08}  # N and N m that hold a part where it is
_SPRING = 6.0  # N
_DARK, _GREY, _LIT = (0.30, 0.30, 0.32), (0.55, 0.55, 0.58), (1.0, 0.98, 0.75)

Rgb = tuple[float, float, float]


def load(bullet: Bullet, what: Receptacle | Button, table: int) -> int:
    """Put a drawer, cabinet or button on the table, closed or dark."""
    body: int = bullet.loadURDF(
        _urdf(what if isinstance(what, Button) else _at_origin(what)),
        (what.x, what.y, 0),
        Pose.upright(0, 0, 0, what.yaw).quaternion,
        useFixedBase=True,
    )
    for link in range(-1, bullet.getNumJoints(body)):
        bullet.changeDynamics(body, link, lateralFriction=1.2, linearDamping=0.0, angularDamping=0.0)
        bullet.setCollisionFilterPair(body, table, link, -1, 0)
    if isinstance(what, Button):
        bullet.setJointMotorControl2(body, CAP, pybullet.POSITION_CONTROL, 0.0, force=_SPRING)
        bullet.setJointMotorControl2(body, LAMP, pybullet.VELOCITY_CONTROL, force=100.0)
    else:
        bullet.setJointMotorControl2(body, 0, pybullet.VELOCITY_CONTROL, force=_FRICTION[what.kind])
        for knob in range(1, bullet.getNumJoints(body)):
            bullet.setJointMotorControl2(body, knob, pybullet.VELOCITY_CONTROL, force=0.02)
    return body


def full_travel(what: Receptacle | Button) -> float:
    """The joint's value at fraction 1: m of a drawer and a lamp, rad of a lid."""
    if isinstance(what, Button):
        return LAMP_RISE
    return DRAWER_TRAVEL if what.kind == "drawer" else LID_SWING


def _at_origin(what: Receptacle) -> Receptacle:
    return Receptacle("", what.kind, what.colour, what.slots, 0, 0, 0)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="emu_fixtures_")


@functools.cache
def _urdf(what: Receptacle | Button) -> str:
    """Write the URDF once a process; the file goes when Python ends."""
    if isinstance(what, Button):
        text = _button(PAINT[what.colour])
    elif what.kind == "drawer":
        text = _drawer(what)
    else:
        text = _cabinet(what)
    path = os.path.join(_folder().name, f"{len(os.listdir(_folder().name))}.urdf")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def _shape(kind: str, sizes: str, at: tuple[float, ...], rgb: Rgb, *, solid: bool = True) -> str:
    origin = f'<origin xyz="{at[0]:.5f} {at[1]:.5f} {at[2]:.5f}"/>'
    geometry = f"<geometry><{kind} {sizes}/></geometry>"
    name = "_".join(f"{value:.3f}" for value in rgb)
    paint = f'<material name="{name}"><color rgba="{rgb[0]} {rgb[1]} {rgb[2]} 1"/></material>'
    collision = f"<collision>{origin}{geometry}</collision>" if solid else ""
    return f"<visual>{origin}{geometry}{paint}</visual>{collision}"


def _box(low: tuple[float, ...], high: tuple[float, ...], rgb: Rgb, *, solid: bool = True) -> str:
    """A box from its lowest to its highest corner."""
    sizes = " ".join(f"{b - a:.5f}" for a, b in zip(low, high, strict=True))
    middle = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    return _shape("box", f'size="{sizes}"', middle, rgb, solid=solid)


def _post(x: float, y: float, low: float, high: float, radius: float, rgb: Rgb) -> str:
    """An upright cylinder."""
    sizes = f'radius="{radius}" length="{high - low:.5f}"'
    return _shape("cylinder", sizes, (x, y, (low + high) / 2), rgb)


def _link(name: str, shapes: str, mass: float) -> str:
    inertia = 'ixx="{0}" ixy="0" ixz="0" iyy="{0}" iyz="0" izz="{0}"'.format(mass * 0.003)
    inertial = f'<inertial><mass value="{mass}"/><inertia {inertia}/></inertial>'
    return f'<link name="{name}">{inertial}{shapes}</link>'


def _joint(name: str, kind: str, at: tuple[float, ...], axis: str, upper: float, parent: str = "base") -> str:
    return (
        f'<joint name="{name}_joint" type="{kind}"><parent link="{parent}"/><child link="{name}"/>'
        f'<origin xyz="{at[0]:.5f} {at[1]:.5f} {at[2]:.5f}"/><axis xyz="{axis}"/>'
        f'<limit lower="0" upper="{upper:.5f}" effort="100" velocity="2"/></joint>'
    )


def _robot(*parts: str) -> str:
    return '<robot name="fixture">' + "".join(parts) + "</robot>"


def _shade(rgb: Rgb, share: float) -> Rgb:
    return (rgb[0] * share, rgb[1] * share, rgb[2] * share)


def _tub(half: tuple[float, float], height: float, rgb: Rgb) -> str:
    """A floor and four walls around the middle; inside of the given half extents."""
    (length, width), dark = half, _shade(rgb, 0.42)
    u, v = length + WALL, width + WALL
    return (
        _box((-u, -v, 0), (u, v, FLOOR), dark)
        + _box((-u, -v, 0), (-length, v, height), rgb)
        + _box((length, -v, 0), (u, v, height), rgb)
        + _box((-u, -v, 0), (u, -width, height), rgb)
        + _box((-u, width, 0), (u, v, height), rgb)
    )


def _drawer(what: Receptacle) -> str:
    """A case at local y from -DRAWER_TRAVEL on, and the drawer, drawn closed."""
    rgb = PAINT[what.colour]
    u, v = what.half[0] + WALL, what.half[1] + WALL
    back, front, wide = -DRAWER_TRAVEL - v - CASE, -DRAWER_TRAVEL + v, u + CASE
    wall = CASE - 0.004
    case = (
        _box((-wide, back, 0), (-wide + wall, front, ROOF[0]), _GREY)
        + _box((wide - wall, back, 0), (wide, front, ROOF[0]), _GREY)
        + _box((-wide, back, 0), (wide, back + wall, ROOF[0]), _GREY)
        + _box((-wide, back, ROOF[0]), (wide, front, ROOF[1]), _GREY)
    )
    at = v + KNOB_REACH - KNOB_RADIUS - 0.001
    slide = (
        _tub(what.half, what.wall_height, rgb)
        + _box((-KNOB_RADIUS, v, 0.012), (KNOB_RADIUS, at, 0.024), _DARK)
        + _post(0, at, 0.012, KNOB_GRASP["drawer"] + 0.012, KNOB_RADIUS, _DARK)
    )
    return _robot(
        _link("base", case, 1.0),
        _link("slide", slide, 0.3),
        _joint("slide", "prismatic", (0, -DRAWER_TRAVEL, 0.0005), "0 1 0", DRAWER_TRAVEL),
    )


def _cabinet(what: Receptacle) -> str:
    """A tub, and a lid that turns about an upright hinge at one corner.

    Its knob turns freely, so that it does not roll along the fingers that lead it around.
    """
    rgb = PAINT[what.colour]
    u, v = what.half[0] + WALL, what.half[1] + WALL
    knob = lid_knob(what)
    lid = _box((0, 0, LID[0]), (2 * u, 2 * v, LID[1]), _shade(rgb, 0.72))
    post = _post(0, 0, LID[1], KNOB_GRASP["cabinet"] + 0.012, KNOB_RADIUS, _DARK)
    return _robot(
        _link("base", _tub(what.half, what.wall_height, rgb), 1.0),
        _link("lid", lid, 0.2),
        _joint("lid", "revolute", (-u, -v, 0), "0 0 1", LID_SWING),
        _link("knob", post, 0.02),
        _joint("knob", "continuous", (*knob, 0), "0 0 1", 0.0, "lid"),
    )


def _button(rgb: Rgb) -> str:
    (length, width), top = BUTTON_HALF, CAP_TOP - CAP_TRAVEL - 0.004
    cap = _post(CAP_AT, 0, top - 0.010, CAP_TOP, 0.017, rgb)
    lamp = _box((LAMP_AT - 0.013, -0.017, 0.002), (LAMP_AT + 0.013, 0.017, top - 0.001), _LIT, solid=False)
    return _robot(
        _link("base", _box((-length, -width, 0), (length, width, top), _GREY), 1.0),
        _link("cap", cap, 0.02),
        _joint("cap", "prismatic", (0, 0, 0), "0 0 -1", CAP_TRAVEL),
        _link("lamp", lamp, 0.02),
        _joint("lamp", "prismatic", (0, 0, 0), "0 0 1", LAMP_RISE),
    )
