"""The fixed skill library: pick(object) and place(object, target), for every robot.

A pick ends in one carry pose, a place in one home pose with an open gripper, so the picture at a
skill's end is a function of the symbolic outcome. Where an object is put depends on the state
alone: the middle of a block, the first free slot of a receptacle, the first free spot of the table.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim import relations
from sim.robots.base import CARRY_SPEED, FREE_SPEED, TOUCH_SPEED, Hand, Vector
from sim.scene import TABLE, Fact, Item, Pose, Scene, Skill, names_in, pair
from sim.state import LEVEL, SymbolicState, free_slot, satisfied

if TYPE_CHECKING:
    from sim.world import World

_TRANSIT = 0.25  # m: every motion across the table has the grasp point at least this high
_NEAR = 0.06  # m above the grasp: from here the motion is straight down
_REST_STEPS = 6
_TRIES = 3
_EXACT = 0.0015  # rad: how near the joints come before anything is grasped, let go or shown
_SPOT_GAP, _SPOT_WALL = 0.09, 0.055  # m from a spot to other objects and to receptacles
# Table spots in the order in which they are taken: the edge near the front camera first
_SPOTS = tuple(
    (x, y) for x in (0.65, 0.58, 0.51, 0.44, 0.37) for y in (0.0, -0.08, 0.08, -0.16, 0.16, -0.225, 0.225)
)


@dataclass(frozen=True)
class SkillResult:
    """Whether the skill's outcome was reached, and otherwise why not."""

    ok: bool
    detail: str = ""


# ---- what is possible


def legal(world: "World") -> list[Skill]:
    """All skills that are possible now, in the scene's order."""
    now = world.state()
    held = now.held
    if held is None:
        return [Skill("pick", i.name) for i in world.scene.items if _why_no_pick(world, now, i.name) is None]
    targets = [TABLE, *(i.name for i in world.scene.items), *(r.name for r in world.scene.receptacles)]
    places = [Skill("place", held, target) for target in targets] + _related(world.scene, held)
    return [skill for skill in places if _why_no_place(world, now, skill) is None]


def _related(scene: Scene, name: str) -> list[Skill]:
    """Places by a relation, of those that the scene's family chooses by."""
    others = [item.name for item in scene.items if item.name != name]
    pairs = [pair(a, b) for i, a in enumerate(others) for b in others[i + 1 :]]
    return [
        Skill("place", name, target, relation)
        for relation in scene.relations
        for target in (pairs if relation in ("between", "across") else others)
    ]


def why_illegal(world: "World", skill: Skill) -> str | None:
    """Why a skill is impossible now, in words; None when it is possible."""
    now = world.state()
    if skill.object not in {item.name for item in world.scene.items}:
        return f"there is no {skill.object}"
    if skill.verb == "pick":
        return _why_no_pick(world, now, skill.object)
    if skill.verb == "place":
        return _why_no_place(world, now, skill)
    return f"unknown verb {skill.verb!r}; expected pick or place"


def _why_no_pick(world: "World", now: SymbolicState, name: str) -> str | None:
    if now.held is not None:
        return f"the gripper holds the {now.held}"
    fact = now.of(name)
    if fact.relation not in ("on", "in"):
        return f"the {name} is {fact.relation}"
    if (above := now.above(name)) is not None:
        return f"the {above} stands on the {name}"
    if world.scene.item(name).kind == "crate":
        return f"the {name} is too wide to grasp"
    if (shut := now.shut_in(name)) is not None:
        return f"the {name} is shut in the {shut}"
    if world.robot.inverse(np.array(world.pose(name).position), 0.0) is None:
        return f"the {name} is out of reach"
    return None


def _why_no_place(world: "World", now: SymbolicState, skill: Skill) -> str | None:
    name, target = skill.object, skill.target
    if now.held != name:
        return f"the gripper does not hold the {name}"
    if skill.relation:
        return _why_no_relation(world, now, skill)
    if target == TABLE:
        return None if _free_spot(world, name) is not None else "the table is full"
    if world.scene.receptacle(target) is not None:
        if now.part(target) in ("closed", "ajar"):
            return f"the {target} is {now.part(target)}"
        return f"the {target} is full" if target in now.full else None
    if target == name or target not in {item.name for item in world.scene.items}:
        return f"there is no {target} to place it on"
    if world.scene.item(target).kind != "block":
        return f"nothing stands safely on the {target}"
    if (above := now.above(target)) is not None:
        return f"the {above} stands on the {target}"
    if now.of(target).relation not in ("on", "in"):
        return f"the {target} is {now.of(target).relation}"
    below, ground = now.level(target)
    if below >= world.scene.tallest - 1:
        return f"the tower under the {target} is too high"
    receptacle = world.scene.receptacle(ground)
    if receptacle is not None and receptacle.wall_height > 0:
        return f"the {target} is inside the {ground}"
    return None


def _why_no_relation(world: "World", now: SymbolicState, skill: Skill) -> str | None:
    """Why an object cannot be placed by a relation to others that stand on the table."""
    known = {item.name for item in world.scene.items}
    for name in names_in(skill.target):
        if name == skill.object or name not in known:
            return f"there is no {name} to place it by"
        if now.of(name) != Fact(name, "on", TABLE):
            return f"the {name} does not stand on the table"
        if skill.relation == "across" and (above := now.above(name)) is not None:
            return f"the {above} stands on the {name}"
    if skill.relation == "across":
        first, second = names_in(skill.target)
        level = abs(world.pose(first).position[2] - world.pose(second).position[2]) < LEVEL / 3
        beside = Fact(first, "beside", second) in now.spatial
        return None if beside and level else f"nothing can rest on the {first} and the {second}"
    if skill.relation not in relations.SPATIAL:
        return f"unknown relation {skill.relation!r}; expected one of {(*relations.SPATIAL, 'across')}"
    if relations.free_spot(world.scene, poses_of(world), *_key(skill)) is None:
        return f"there is no room {skill.relation.replace('_', ' ')} the {skill.target}"
    return None


def _key(skill: Skill) -> tuple[str, str, str]:
    return skill.object, skill.relation, skill.target


# ---- where things go


def carry_pose(world: "World", item: Item) -> Pose:
    """Nominal pose of an item in the gripper at the end of a pick."""
    x, y, z = world.robot.carry_point
    return Pose.upright(x, y, z - world.robot.gripper.lift(item.size), 0.0)


def place_pose(world: "World", name: str, target: str, relation: str = "") -> Pose:
    """Where a legal place puts the object: a function of the state."""
    half = world.scene.item(name).size / 2
    if relation == "across":
        return _across(world, half, *names_in(target))
    if relation:
        beside = relations.free_spot(world.scene, poses_of(world), name, relation, target)
        if beside is None:
            raise ValueError(f"no room {relation} the {target} for the {name}")
        return beside
    receptacle = world.scene.receptacle(target)
    if target == TABLE:
        spot = _free_spot(world, name)
        if spot is None:
            raise ValueError(f"no free spot on the table for the {name}")
        return Pose.upright(*spot, half)
    if receptacle is not None:
        slot = free_slot(receptacle, poses_of(world), name)
        if slot is None:
            raise ValueError(f"the {target} is full")
        return Pose.upright(*receptacle.slot(slot), receptacle.floor + half, receptacle.yaw)
    below = world.pose(target)
    x, y, z = below.position
    return Pose.upright(x, y, z + world.scene.item(target).size / 2 + half, _quarter(below.yaw))


def _across(world: "World", half: float, first: str, second: str) -> Pose:
    """On top of two blocks that stand side by side, over the joint."""
    a, b = world.pose(first), world.pose(second)
    x, y = ((p + q) / 2 for p, q in zip(a.position[:2], b.position[:2], strict=True))
    top = max(world.pose(name).position[2] + world.scene.item(name).size / 2 for name in (first, second))
    return Pose.upright(x, y, top + half, _quarter(a.yaw))


def poses_of(world: "World") -> dict[str, Pose]:
    """Present pose of every item, by name."""
    return {item.name: world.pose(item.name) for item in world.scene.items}


def _free_spot(world: "World", name: str) -> tuple[float, float] | None:
    others = [(world.pose(i.name).position, i.extra_room) for i in world.scene.items if i.name != name]
    for x, y in _SPOTS:
        clear = all(math.hypot(x - o[0], y - o[1]) >= _SPOT_GAP + extra for o, extra in others)
        if clear and relations.walls_apart(world.scene, x, y, _SPOT_WALL):
            return (x, y)
    return None


def _quarter(yaw: float) -> float:
    """The same turn of a cube, within 45 degrees of zero."""
    return (yaw + math.pi / 4) % (math.pi / 2) - math.pi / 4


# ---- doing it


def execute(world: "World", skill: Skill) -> SkillResult:
    """Carry out a skill; refuse one that is impossible. See the module's docstring."""
    reason = why_illegal(world, skill)
    if reason is not None:
        return SkillResult(False, reason)
    world.forget_contacts()
    if skill.verb == "pick":
        return _pick(world, skill.object)
    return _place(world, skill)


def _pick(world: "World", name: str) -> SkillResult:
    for _ in range(_TRIES):
        if not _grasp(world, name):
            break
        if world.state().held == name:
            return SkillResult(True)
        go_home(world)
        if _why_no_pick(world, world.state(), name) is not None:
            break
    go_home(world)
    return SkillResult(False, f"the {name} slipped: it is {world.state().of(name).relation}")


def _place(world: "World", skill: Skill) -> SkillResult:
    name, target = skill.object, skill.target
    goal = place_pose(world, name, target, skill.relation)
    wanted = Fact(name, "in" if world.scene.receptacle(target) else "on", target)
    if skill.relation in relations.SPATIAL:
        wanted = Fact(name, skill.relation, target)
    for _ in range(_TRIES):
        _release(world, name, goal)
        now = world.state()
        if _reached(now, wanted):
            return SkillResult(True)
        if _why_no_pick(world, now, name) is not None or not _pick(world, name).ok:
            break
    now = world.state()
    if now.held is not None:
        go_home(world)
    return SkillResult(_reached(now, wanted), f"the {name} is {now.of(name).relation} {now.of(name).target}")


def _reached(now: SymbolicState, wanted: Fact) -> bool:
    if wanted.relation in relations.SPATIAL:
        return satisfied(now, wanted)
    return now.of(wanted.object) == wanted


def _grasp(world: "World", name: str) -> bool:
    """Reach, close, lift, bring to the carry pose. False: out of reach."""
    robot, item, pose = world.robot, world.scene.item(name), world.pose(name)
    x, y, z = pose.position
    yaws = _grasp_yaws(item, pose)
    yaw = _clearest(world, name, (x, y, z), yaws)
    path = descent(world, np.array([x, y, z + robot.gripper.lift(item.size)]), yaw)
    if path is None:
        return False
    robot.gripper.prepare(item.size)
    over, near, at = path
    robot.move(over, FREE_SPEED)
    robot.move(near, FREE_SPEED)
    robot.move(at, TOUCH_SPEED * 2, _EXACT)
    robot.grasp(world.bodies[name], item.size)
    robot.move(near, TOUCH_SPEED)
    robot.move(over, CARRY_SPEED)
    robot.move(robot.carry, CARRY_SPEED, _EXACT)
    world.refresh_contacts(name)
    _rest(world)
    return True


def _release(world: "World", name: str, goal: Pose) -> None:
    """Bring the held object to a pose, let go, go home."""
    robot, item = world.robot, world.scene.item(name)
    tool = robot.forward(robot.joints())
    held = world.pose(name)
    offset = tool[:3, :3].T @ (np.array(held.position) - tool[:3, 3])
    yaws = [goal.yaw] if _in_receptacle(world, goal) else [goal.yaw, goal.yaw + math.pi / 2]
    yaw = _clearest(world, name, goal.position, yaws)
    turn = np.array([[math.cos(yaw), math.sin(yaw)], [math.sin(yaw), -math.cos(yaw)]])
    x, y = np.array(goal.position[:2]) - turn @ offset[:2]
    z = goal.position[2] + offset[2] + 0.0015
    path = descent(world, np.array([x, y, z]), yaw)
    if path is None:
        raise ValueError(f"no way to put the {name} at {goal.position}")
    over, near, at = path
    robot.move(over, CARRY_SPEED)
    world.refresh_contacts(name)
    robot.move(near, CARRY_SPEED)
    robot.move(at, TOUCH_SPEED, _EXACT)
    world.refresh_contacts(name)
    robot.release(item.size)
    robot.move(near, TOUCH_SPEED * 2)
    robot.move(over, FREE_SPEED)
    go_home(world)


def go_home(world: "World") -> None:
    """Open the gripper, bring the arm home, and wait until nothing moves."""
    world.robot.gripper.open()
    world.robot.move(world.robot.home, FREE_SPEED, _EXACT)
    _rest(world)


def _rest(world: "World") -> None:
    """Wait until nothing moves, a quarter of a second at most."""
    for _ in range(10):
        for _ in range(_REST_STEPS):
            world.step()
        if all(
            math.hypot(*world.bullet.getBaseVelocity(world.bodies[item.name])[0]) < 0.01
            for item in world.scene.items
        ):
            return


def descent(world: "World", point: Vector, yaw: float) -> list[Vector] | None:
    """Joints over, near and at a grasp point; None when one is out of reach."""
    x, y, z = point
    path = [world.robot.inverse(np.array([x, y, h]), yaw) for h in (max(_TRANSIT, z + _NEAR), z + _NEAR, z)]
    return None if any(joints is None for joints in path) else path  # type: ignore[return-value]


def _in_receptacle(world: "World", goal: Pose) -> bool:
    return any(r.outside(*goal.position[:2]) == 0 for r in world.scene.receptacles)


def _grasp_yaws(item: Item, pose: Pose) -> list[float]:
    """Turns of the gripper that grasp an item squarely."""
    if item.kind == "block":
        return [_quarter(pose.yaw), _quarter(pose.yaw) + math.pi / 2]
    return [math.radians(angle) for angle in (0, 90, 30, -30, 60, -60)]


def _clearest(world: "World", name: str, at: tuple[float, float, float], yaws: Iterable[float]) -> float:
    """The first turn whose gripper has a centimetre of room, or the one with most."""
    hand, scene, poses = world.robot.gripper.hand, world.scene, poses_of(world)
    room = {yaw: _room(hand, scene, poses, name, at, yaw) for yaw in yaws}
    return next((yaw for yaw, free in room.items() if free > 0.010), max(room, key=lambda y: room[y]))


def _hand_room(
    hand: Hand, scene: Scene, poses: dict[str, Pose], name: str, at: tuple[float, float, float], yaw: float
) -> float:
    """Distance from the hand above the object to whatever is tall enough to meet it, m."""
    x, y, z = at
    nearest = 1.0
    for other in scene.items:
        ox, oy, oz = poses[other.name].position
        if other.name != name and oz + other.size / 2 > z + hand.bottom:
            along = abs((ox - x) * math.sin(yaw) - (oy - y) * math.cos(yaw)) - hand.half[0]
            across = abs((ox - x) * math.cos(yaw) + (oy - y) * math.sin(yaw)) - hand.half[1]
            nearest = min(nearest, max(along, across) - 0.65 * other.size)
    return nearest


def _room(
    hand: Hand, scene: Scene, poses: dict[str, Pose], name: str, at: tuple[float, float, float], yaw: float
) -> float:
    """Distance from the gripper around an object to whatever else is there, m."""
    x, y, z = at
    half, nearest = scene.item(name).size / 2, _hand_room(hand, scene, poses, name, at, yaw)
    for reach in (half + beyond for beyond in hand.fingers):
        for sign in (-1, 1):
            px, py = x + sign * reach * math.sin(yaw), y - sign * reach * math.cos(yaw)
            for other in scene.items:
                ox, oy, oz = poses[other.name].position
                if other.name != name and oz + other.size / 2 > z - 0.015:
                    nearest = min(nearest, math.hypot(px - ox, py - oy) - 0.6 * other.size - 0.010)
            for r in scene.receptacles:
                if r.wall_height > z - 0.010:
                    u, v = r.local(px, py)
                    inner = min(r.half[0] - abs(u), r.half[1] - abs(v))
                    gap = inner if r.outside(x, y) == 0 else r.outside(px, py)
                    nearest = min(nearest, gap - 0.010)
    return nearest
