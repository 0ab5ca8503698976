"""The skill push(crate, zone): for what is too wide to grasp. Straight pushes on flat faces.

The gripper stands across the way with its fingers a little apart, so that two points push and the
crate does not turn. A push to a zone is one or two legs along the crate's own axes.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from sim import motion
from sim.push_ways import BACK, Leg, behind, legs
from sim.robots.base import CARRY_SPEED, FREE_SPEED, TOUCH_SPEED, Vector
from sim.scene import CRATE_HEIGHT, Fact, Item, Pose, Receptacle, Skill
from sim.skills import SkillResult, go_home, poses_of
from sim.state import SymbolicState

if TYPE_CHECKING:
    from sim.world import World

_AROUND = 0.034  # m: the fingers stand as far apart as around an object of that size
_HEIGHT = 0.6 * CRATE_HEIGHT
_SPEED = 0.002  # rad a step: the crate must not run ahead of the fingers
_STRIDE = 0.016  # m a straight part
_LAST = 0.008  # m of a leg that are pushed after a look
_MOST_LEGS = 5  # two, and some to make good what they missed


def legal(world: "World", now: SymbolicState) -> list[Skill]:
    """All pushes that are possible now."""
    skills = [
        Skill("push", item.name, zone.name)
        for item in world.scene.items
        if item.kind == "crate"
        for zone in world.scene.receptacles
        if zone.kind == "zone"
    ]
    return [skill for skill in skills if why_not(world, now, skill) is None]


def why_not(world: "World", now: SymbolicState, skill: Skill) -> str | None:
    """Why a push is impossible now, in words; None when it is possible."""
    if now.held is not None:
        return f"the gripper holds the {now.held}"
    if not motion.can_lead(world.robot):
        return f"a {world.robot.name} cannot push the {skill.object}"
    item = next((i for i in world.scene.items if i.name == skill.object), None)
    zone = world.scene.receptacle(skill.target)
    if item is None or item.kind != "crate":
        return f"there is no crate {skill.object!r} to push"
    if zone is None or zone.kind != "zone":
        return f"there is no zone {skill.target!r} to push it to"
    fact = now.of(item.name)
    if fact.relation not in ("on", "in"):
        return f"the {item.name} is {fact.relation}"
    if fact == Fact(item.name, "in", zone.name):
        return f"the {item.name} is in the {zone.name} already"
    strangers = [name for name in now.inside(zone.name) if name != item.name]
    if strangers:
        return f"the {strangers[0]} stands in the {zone.name}"
    return None if _ways(world, item, zone) else f"there is no free way for the {item.name}"


def imagine(world: "World", skill: Skill) -> None:
    """Put the crate where a push should lead it, without physics."""
    zone, pose = world.scene.receptacle(skill.target), world.pose(skill.object)
    if zone is None:
        raise AssertionError(f"no {skill.target}")
    world.pose_state({skill.object: Pose((zone.x, zone.y, pose.position[2]), pose.quaternion)})


def execute(world: "World", skill: Skill) -> SkillResult:
    """Carry out a push that is possible."""
    item, zone = world.scene.item(skill.object), world.scene.receptacle(skill.target)
    if zone is None:
        raise AssertionError(f"no {skill.target}")
    wanted = Fact(item.name, "in", zone.name)
    for _ in range(_MOST_LEGS):
        way = _ways(world, item, zone)
        if not way or not _push(world, item, way[0]):
            break
    go_home(world)
    fact = world.state().of(item.name)
    return SkillResult(
        fact == wanted, "" if fact == wanted else f"the {item.name} is {fact.relation} {fact.target}"
    )


def _ways(world: "World", item: Item, zone: Receptacle) -> list[Leg]:
    """Legs that are free and within this robot's reach; empty: none, or the crate is there."""
    found = legs(world.scene, poses_of(world), item, zone)
    return found if all(_way(world, item, leg, leg.length) is not None for leg in found) else []


def _point(item: Item, leg: Leg, along: float) -> Vector:
    """The grasp point when the crate has gone that far; negative: not there yet."""
    return np.array([*leg.at(along - behind(item)), _HEIGHT])


def _way(world: "World", item: Item, leg: Leg, end: float) -> list[Vector] | None:
    """Joints down behind the face (three), along the leg to `end`, a little back, and up (two)."""
    count = max(2, math.ceil((end + BACK) / _STRIDE))
    along = [_point(item, leg, -BACK + (end + BACK) * i / count) for i in range(1, count + 1)]
    down, up = (motion.straight_down(_point(item, leg, at)) for at in (-BACK, end - BACK / 2))
    return motion.way(world, [*down, *along, *up[::-1]], leg.yaw)


def _push(world: "World", item: Item, leg: Leg) -> bool:
    """Come down behind the face, push, draw back, rise. False: out of reach.

    The last millimetres are pushed by what is then left, for fingers are not all alike.
    """
    robot, short = world.robot, max(leg.length - _LAST, 0.0)
    way = _way(world, item, leg, short)
    if way is None:
        return False
    robot.gripper.prepare(_AROUND)
    for joints in way[:2]:
        robot.move(joints, FREE_SPEED)
    robot.move(way[2], TOUCH_SPEED * 2)
    for joints in way[3:-3]:
        robot.move(joints, _SPEED, 0.004)
    x, y, _ = world.pose(item.name).position
    done = (x - leg.start[0]) * leg.direction[0] + (y - leg.start[1]) * leg.direction[1]
    rest = _way(world, item, leg, short + max(leg.length - done, 0.0))
    if rest is not None:
        way = rest
        robot.move(way[-4], _SPEED, 0.004)
    robot.move(way[-3], TOUCH_SPEED)
    for joints in way[-2:]:
        robot.move(joints, CARRY_SPEED)
    return True
