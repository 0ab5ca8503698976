"""Predicates on constructed cases: near is not on, under is not on, floating is not held."""

import math
from collections.abc import Iterator

import pytest

from sim import robots, skills
from sim.scene import Fact, Pose, Skill
from sim.state import satisfied
from sim.world import World


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(params=list(robots.ROBOTS))
def world(request: pytest.FixtureRequest, shared: World) -> World:
    """A scene with two blocks, moved to known places, for each robot."""
    shared.reset("stack", 0, request.param)
    _, b = _blocks(shared)
    half = shared.scene.item(b).size / 2
    shared.pose_state(
        {i.name: Pose.upright(0.4 + 0.09 * n, -0.2, i.size / 2) for n, i in enumerate(shared.scene.items)}
    )
    shared.pose_state({b: Pose.upright(0.5, 0.1, half)})
    return shared


def _blocks(world: World) -> tuple[str, str]:
    names = [item.name for item in world.scene.items if item.kind == "block"]
    return names[0], names[1]


def _put(world: World, name: str, x: float, y: float, z: float) -> Fact:
    world.pose_state({name: Pose.upright(x, y, z)})
    return world.state().of(name)


def test_on_top_and_beside_and_beneath(world: World) -> None:
    a, b = _blocks(world)
    half_a, size_b = world.scene.item(a).size / 2, world.scene.item(b).size
    assert _put(world, a, 0.5, 0.1, size_b + half_a) == Fact(a, "on", b)
    assert world.state().above(b) == a
    assert _put(world, a, 0.5, 0.1 + size_b + 0.001, half_a) == Fact(a, "on", "table")
    # "beneath": same xy as a stack, but the other one is on top
    world.pose_state({b: Pose.upright(0.5, 0.1, 2 * half_a + size_b / 2)})
    assert _put(world, a, 0.5, 0.1, half_a) == Fact(a, "on", "table")
    assert world.state().of(b) == Fact(b, "on", a)


def test_floating_is_not_on(world: World) -> None:
    a, b = _blocks(world)
    half_a, size_b = world.scene.item(a).size / 2, world.scene.item(b).size
    assert _put(world, a, 0.5, 0.1, size_b + half_a + 0.02).relation == "floating"
    assert _put(world, a, 0.5, -0.05, half_a + 0.02).relation == "floating"


def test_floating_at_the_carry_point_is_held_only_by_a_closed_gripper(world: World) -> None:
    a, _ = _blocks(world)
    item = world.scene.item(a)
    world.pose_state({a: skills.carry_pose(world, item)}, "carry", item.size)
    assert world.state().held == a
    world.pose_state({a: skills.carry_pose(world, item)}, "carry", None)
    assert world.state().of(a).relation == "floating"


def test_a_real_grasp_is_held_and_a_release_is_not(world: World) -> None:
    a, _ = _blocks(world)
    assert world.execute(Skill("pick", a)).ok
    assert world.state().held == a
    world.robot.gripper.open()
    world.robot.drive()
    for _ in range(3):
        world.step()
    assert world.state().held is None
    assert world.state().of(a).relation in ("moving", "floating")
    for _ in range(240):
        world.step()
    assert world.state().of(a).relation in ("on", "tipped")


def test_tipped_and_moving_and_lost(world: World) -> None:
    a, _ = _blocks(world)
    half = world.scene.item(a).size / 2
    lean = Pose((0.5, -0.05, half * 1.3), (math.sin(0.3), 0.0, 0.0, math.cos(0.3)))
    world.pose_state({a: lean})
    assert world.state().of(a).relation == "tipped"
    assert _put(world, a, 0.5, -0.05, half) == Fact(a, "on", "table")
    world.bullet.resetBaseVelocity(world.bodies[a], (0.2, 0, 0))
    assert world.state().of(a).relation == "moving"
    world.pose_state({a: None})
    assert world.state().of(a).relation == "lost"


def test_in_a_container_needs_its_floor_and_its_walls() -> None:
    with World() as world:
        scene = world.reset("container", 1)
        box, item = scene.receptacles[0], scene.items[0]
        half = item.size / 2
        x, y = box.slot(box.slots - 1)
        assert _put(world, item.name, x, y, box.floor + half) == Fact(item.name, "in", box.name)
        assert _put(world, item.name, x, y, box.floor + half + 0.03).relation == "floating"
        # straddling the wall
        wall = box.half[1]
        x, y = box.x - math.sin(box.yaw) * wall, box.y + math.cos(box.yaw) * wall
        assert _put(world, item.name, x, y, box.wall_height + half).relation != "in"


def test_in_a_zone_needs_the_centre_inside() -> None:
    with World() as world:
        scene = world.reset("zone", 1)
        zone, item = scene.receptacles[0], scene.items[0]
        assert _put(world, item.name, zone.x, zone.y, item.size / 2) == Fact(item.name, "in", zone.name)
        side = zone.half[1] + 0.01
        x, y = zone.x - math.sin(zone.yaw) * side, zone.y + math.cos(zone.yaw) * side
        assert _put(world, item.name, x, y, item.size / 2) == Fact(item.name, "on", "table")


def test_an_object_that_is_still_touched_satisfies_nothing(world: World) -> None:
    a, b = _blocks(world)
    assert world.execute(Skill("pick", a)).ok
    goal = skills.place_pose(world, a, b)
    item = world.scene.item(a)
    world.pose_state({a: goal}, "carry", item.size)
    now = world.state()
    assert satisfied(now, Fact(a, "on", b))
    grip = skills.carry_pose(world, item)
    base = world.scene.item(b)
    low = grip.position[2] - item.size / 2 - base.size / 2
    world.pose_state({a: grip, b: Pose.upright(grip.position[0], grip.position[1], low)}, "carry", item.size)
    now = world.state()
    assert now.of(a) == Fact(a, "on", b)
    assert a in now.touched
    assert not satisfied(now, Fact(a, "on", b))
