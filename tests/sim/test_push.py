"""Crates are pushed, not grasped; ways are straight, free and without a leap of the arm."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from sim import motion, push_ways, tasks
from sim.scene import Fact, Pose, Skill
from sim.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.mark.parametrize("robot", tasks.LEADERS)
def test_a_push_ends_in_the_middle_of_the_zone_and_keeps_the_turn(world: World, robot: str) -> None:
    scene = world.reset("push", 2, robot)
    fact = scene.goal.facts[0]
    zone, turn = scene.receptacle(fact.target), world.pose(fact.object).yaw
    assert zone is not None
    skill = Skill("push", fact.object, fact.target)
    assert skill in world.legal_skills()
    assert world.execute(skill).ok
    assert world.state().of(fact.object) == fact
    x, y, _ = world.pose(fact.object).position
    assert abs(x - zone.x) < 0.012
    assert abs(y - zone.y) < 0.012
    assert abs(world.pose(fact.object).yaw - turn) < 0.08
    assert "already" in world.execute(skill).detail


def test_refusals_say_why(world: World) -> None:
    scene = world.reset("push", 2)
    crate, zone = scene.goal.facts[0].object, scene.goal.facts[0].target
    other = next(item for item in scene.items if item.kind != "crate")
    assert "too wide" in world.execute(Skill("pick", crate)).detail
    assert "no crate" in world.execute(Skill("push", other.name, zone)).detail
    assert "no zone" in world.execute(Skill("push", crate, other.name)).detail
    where = scene.receptacle(zone)
    assert where is not None
    world.pose_state({other.name: Pose.upright(where.x, where.y, other.size / 2)})
    assert f"the {other.name} stands in" in world.execute(Skill("push", crate, zone)).detail


def test_a_way_that_is_taken_is_no_way(world: World) -> None:
    scene = world.reset("push", 2)
    crate = next(item for item in scene.items if item.kind == "crate")
    zone = scene.receptacle(scene.goal.facts[0].target)
    assert zone is not None
    poses = {item.name: world.pose(item.name) for item in scene.items}
    legs = push_ways.legs(scene, poses, crate, zone)
    assert 1 <= len(legs) <= 2
    assert np.hypot(legs[-1].end[0] - zone.x, legs[-1].end[1] - zone.y) < 0.009
    # along the crate's own axes
    for leg in legs:
        turn = np.arctan2(leg.direction[1], leg.direction[0]) - poses[crate.name].yaw
        assert abs(np.sin(2 * turn)) < 1e-9
    other = next(item for item in scene.items if item.kind != "crate")
    x, y = zone.x, zone.y
    assert push_ways.legs(scene, poses | {other.name: Pose.upright(x, y, 0.02)}, crate, zone) == []


def test_ways_of_the_gripper_do_not_leap(world: World) -> None:
    world.reset("stack", 0)
    # across the line where inverse kinematics changes to the other half turn
    points = [np.array([0.52, y, 0.03]) for y in np.linspace(-0.25, 0.25, 40)]
    for yaw in np.linspace(-1.6, 1.6, 9):
        way = motion.way(world, points, float(yaw))
        assert way is not None, yaw
        assert max(np.abs(b - a).max() for a, b in itertools.pairwise(way)) < 0.3
        for point, joints in zip(points, way, strict=True):
            assert np.abs(world.robot.forward(joints)[:3, 3] - point).max() < 1e-3
    assert motion.way(world, [np.array([1.4, 0.0, 0.1])], 0.0) is None


def test_a_pushed_away_crate_makes_room(world: World) -> None:
    scene = world.reset("push_place", 2)
    pushed, placed = scene.goal.facts
    crate_in = world.state().of(pushed.object)
    assert crate_in == Fact(pushed.object, "in", placed.target)
    assert placed.target in world.state().full
    assert world.execute(Skill("push", pushed.object, pushed.target)).ok
    assert placed.target not in world.state().full
