"""Skills on moving parts: open(x), close(x), press(x), checked by contact and by how far it moved.

Drawers and lids are led by their knob, between the fingers; a button is pressed with the closed
gripper, and each whole press turns its lamp on or off. All end in the home pose.
"""

from typing import TYPE_CHECKING

import numpy as np

from sim import fixture_bodies, fixtures, motion
from sim.robots.base import CARRY_SPEED, FREE_SPEED, TOUCH_SPEED, Vector
from sim.scene import Pose, Receptacle, Skill
from sim.skills import SkillResult, go_home, poses_of
from sim.state import SymbolicState

if TYPE_CHECKING:
    from sim.world import World

_LEAD_SPEED = {"drawer": 0.0015, "cabinet": 0.004}  # rad a step: what lies in a drawer must not slide
_KNOB = 2 * fixtures.KNOB_RADIUS
_PRESS_STEPS = 8
_LEAD_STEPS = {"drawer": 4, "cabinet": 9}  # straight parts of a knob's way
_OVERSHOOT = 0.012  # of the way: up to the stop, whatever the grip gives
_FINGERTIP = 0.0072  # m that the tips reach below the grasp point
_DEEP, _PRESSED = 0.75, 0.5  # of a cap's travel: how deep the fingers go, and how deep is enough
_TALL = 0.055  # m: what rises higher is hit by a lid or by a drawer's case
_MARGIN = 0.030  # m around what moves


def legal(world: "World", now: SymbolicState) -> list[Skill]:
    """All skills on moving parts that are possible now."""
    skills = [Skill(verb, r.name) for r in world.scene.receptacles if r.opens for verb in ("open", "close")]
    skills += [Skill("press", button.name) for button in world.scene.buttons]
    return [skill for skill in skills if why_not(world, now, skill) is None]


def why_not(world: "World", now: SymbolicState, skill: Skill) -> str | None:
    """Why a skill on a moving part is impossible now, in words; None when it is possible."""
    if now.held is not None:
        return f"the gripper holds the {now.held}"
    if not motion.can_lead(world.robot):
        return f"a {world.robot.name} cannot {skill.verb} the {skill.object}"
    if skill.verb == "press":
        button = world.scene.button(skill.object)
        if button is None:
            return f"there is no button {skill.object!r}"
        if (name := fixtures.pile_in_the_way(world.scene, poses_of(world), button)) is not None:
            return f"the {name} is in the way"
        return None if _press_way(world, button.name) is not None else f"the {button.name} is out of reach"
    what = world.scene.receptacle(skill.object)
    if what is None or not what.opens:
        return f"there is nothing to {skill.verb} that is called {skill.object!r}"
    if now.part(what.name) == ("open" if skill.verb == "open" else "closed"):
        return f"the {what.name} is {now.part(what.name)} already"
    if (name := _in_the_way(world, now, what)) is not None:
        return f"the {name} is in the way"
    if _way(world, what, skill.verb) is None:
        return f"the knob of the {what.name} is out of reach"
    return None


def _in_the_way(world: "World", now: SymbolicState, what: Receptacle) -> str | None:
    """An object that a moving lid or drawer would hit."""
    inside = set(now.inside(what.name))
    for item in world.scene.items:
        x, y, z = world.pose(item.name).position
        tall = z + item.height / 2 > _TALL + 0.002
        if item.name in inside:
            # also what stands on something inside
            if now.above(item.name) is not None:
                return now.above(item.name)
        elif fixtures.swept(what, x, y, _MARGIN + item.extra_room) and (what.kind == "drawer" or tall):
            return item.name
    return fixtures.pile_in_the_way(world.scene, poses_of(world), what)


def execute(world: "World", skill: Skill) -> SkillResult:
    """Carry out a skill that is possible."""
    if skill.verb == "press":
        return _press(world, skill.object)
    what = world.scene.receptacle(skill.object)
    if what is None:
        raise AssertionError(f"no {skill.object}")
    return _lead(world, what, skill.verb)


def imagine(world: "World", skill: Skill) -> None:
    """Put the world into the state that the skill should lead to, without physics."""
    if skill.verb == "press":
        dark = world.fraction(skill.object) < 0.5
        world.pose_state({}, parts={skill.object: float(dark)})
        return
    what = world.scene.receptacle(skill.object)
    if what is None:
        raise AssertionError(f"no {skill.object}")
    fraction = 1.0 if skill.verb == "open" else 0.0
    world.pose_state(carried(world, what, fraction), parts={what.name: fraction})


def carried(world: "World", what: Receptacle, fraction: float) -> dict[str, Pose | None]:
    """Where the things in a drawer are when it stands at a fraction of its way."""
    before, after = fixtures.moved(what, world.fraction(what.name)), fixtures.moved(what, fraction)
    poses: dict[str, Pose | None] = {}
    for name in world.state().inside(what.name):
        pose = world.pose(name)
        x, y, z = pose.position
        poses[name] = Pose((x + after.x - before.x, y + after.y - before.y, z), pose.quaternion)
    return poses


def _way(world: "World", what: Receptacle, verb: str) -> list[Vector] | None:
    """Joints down to the knob (three), along its way, and up again (two); None: out of reach."""
    start = world.fraction(what.name)
    end = 1.0 + _OVERSHOOT if verb == "open" else -_OVERSHOOT
    steps = _LEAD_STEPS[what.kind]
    points = [np.array(fixtures.knob(what, start + (end - start) * i / steps)) for i in range(steps + 1)]
    up = motion.straight_down(points[-1])[1::-1]
    return motion.way(world, [*motion.straight_down(points[0]), *points[1:], *up], fixtures.hand_yaw(what))


def _lead(world: "World", what: Receptacle, verb: str) -> SkillResult:
    """Take the knob, lead it along its way, let go, go home."""
    robot, way = world.robot, _way(world, what, verb)
    if way is None:
        return SkillResult(False, f"the knob of the {what.name} is out of reach")
    robot.gripper.prepare(_KNOB)
    for joints in way[:2]:
        robot.move(joints, FREE_SPEED)
    robot.move(way[2], TOUCH_SPEED * 2)
    robot.grasp(world.bodies[what.name], _KNOB)
    if not robot.gripper.holds(world.bodies[what.name]):
        go_home(world)
        return SkillResult(False, f"the fingers found no hold on the knob of the {what.name}")
    for joints in way[3:-2]:
        robot.move(joints, _LEAD_SPEED[what.kind])
    robot.release(_KNOB)
    for joints in way[-2:]:
        robot.move(joints, CARRY_SPEED)
    go_home(world)
    found, wanted = world.state().part(what.name), "open" if verb == "open" else "closed"
    return SkillResult(found == wanted, "" if found == wanted else f"the {what.name} is {found}")


def _press_way(world: "World", name: str) -> list[Vector] | None:
    """Joints down to a button's cap (three), and deep; None: out of reach."""
    button = world.scene.button(name)
    if button is None:
        raise AssertionError(f"no {name}")
    x, y, z = fixtures.cap(button)
    top = np.array([x, y, z + _FINGERTIP])
    points = [*motion.straight_down(top), top - [0, 0, _DEEP * fixtures.CAP_TRAVEL]]
    return motion.way(world, points, button.yaw)


def _press(world: "World", name: str) -> SkillResult:
    """Press with the closed gripper; the lamp changes once when the cap has gone down far enough."""
    path = _press_way(world, name)
    if path is None:
        return SkillResult(False, f"the {name} is out of reach")
    robot, body = world.robot, world.bodies[name]
    robot.gripper.prepare(0.0)
    robot.move(path[0], FREE_SPEED)
    robot.grasp(body, 0.0)
    for joints in path[1:-1]:
        robot.move(joints, CARRY_SPEED)
    robot.move(path[-1], TOUCH_SPEED)
    for _ in range(_PRESS_STEPS):
        world.step()
    depth = world.bullet.getJointState(body, fixture_bodies.CAP)[0]
    pressed = robot.gripper.touches(body) and depth > _PRESSED * fixtures.CAP_TRAVEL
    if pressed:
        world.set_fraction(name, float(world.fraction(name) < 0.5))
    for joints in path[-2::-1]:
        robot.move(joints, CARRY_SPEED)
    go_home(world)
    return SkillResult(pressed, "" if pressed else f"the {name} went down {1000 * depth:.0f} mm only")
