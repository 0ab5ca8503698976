"""Every robot: reaches what a scene may hold, holds what it grasps, and hides nothing from a camera."""

from collections.abc import Iterator

import numpy as np
import pybullet
import pytest

from sim import layout, robots, skills, tasks
from sim.camera import SIZE
from sim.robots.base import Robot
from sim.robots.mobile import Mobile
from sim.robots.suction import Suction
from sim.scene import Fact, Skill
from sim.world import World
from tools import draw_robots

EVERY = list(robots.ROBOTS)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(params=EVERY)
def world(request: pytest.FixtureRequest, shared: World) -> World:
    """A scene with two blocks and more, for each robot."""
    shared.reset("stack", 1, request.param)
    return shared


def test_there_are_four_of_three_kinds() -> None:
    assert EVERY == ["panda", "kuka", "xarm", "mobile"]
    assert robots.chosen("all") == tuple(EVERY)
    assert robots.chosen("kuka") == ("kuka",)


@pytest.mark.parametrize("name", ["pandas", "", "All"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name: str) -> None:
    for use in (robots.known, robots.chosen, lambda name: tasks.make_scene("stack", 0, name)):
        with pytest.raises(ValueError, match=r"unknown robot .* panda, kuka, xarm, mobile"):
            use(name)


def test_a_scene_does_not_depend_on_its_robot() -> None:
    for family in tasks.FAMILIES:
        drawn = [tasks.make_scene(family, 5, name) for name in EVERY]
        assert [scene.robot for scene in drawn] == EVERY
        for scene in drawn[1:]:
            assert (scene.items, scene.receptacles, scene.look, scene.instruction) == (
                drawn[0].items, drawn[0].receptacles, drawn[0].look, drawn[0].instruction,
            )  # fmt: skip


# ---- kinematics


def _places(rng: np.random.Generator, count: int) -> Iterator[tuple[np.ndarray, float]]:
    """Grasp points over the whole layout, from the table to above a tower of three."""
    for _ in range(count):
        x, y = rng.uniform(*layout.X_RANGE), rng.uniform(*layout.Y_RANGE)
        yield np.array([x, y, rng.uniform(0.025, 0.26)]), float(rng.uniform(-np.pi, np.pi))


def _tool(robot: Robot) -> tuple[np.ndarray, np.ndarray]:
    """Where Bullet has the grasp point: position [3] and rotation [3, 3]."""
    link = robot.link_of[robot.grasp_link]
    state = robot.bullet.getLinkState(robot.body, link, computeForwardKinematics=1)
    return np.array(state[4]), np.array(pybullet.getMatrixFromQuaternion(state[5])).reshape(3, 3)


def test_inverse_kinematics_reaches_every_place_of_a_layout(world: World) -> None:
    robot = world.robot
    for position, yaw in _places(np.random.default_rng(1), 60):
        joints = robot.inverse(position, yaw)
        assert joints is not None, (robot.name, position)
        robot.pose(joints, None)
        at, turned = _tool(robot)
        assert np.abs(at - position).max() < 3e-4
        assert turned[2, 2] < -0.99999
        along = np.array([np.cos(yaw), np.sin(yaw)])
        # half a turn more is as good
        assert abs(turned[:2, 0] @ along) > 0.99999
        assert np.allclose(robot.forward(joints)[:3, 3], at, atol=1e-5)
        assert np.allclose(robot.forward(joints)[:3, :3], turned, atol=1e-4)
        again = robot.inverse(position.copy(), yaw)
        assert np.array_equal(joints, again)


def test_inverse_kinematics_keeps_the_joints_limits(world: World) -> None:
    robot = world.robot
    told = [robot.bullet.getJointInfo(robot.body, n) for n in range(robot.bullet.getNumJoints(robot.body))]
    limits = {info[1].decode(): info[8:10] for info in told}
    lower, upper = np.array([limits[name] for name in robot.driven]).T
    for position, yaw in _places(np.random.default_rng(2), 60):
        joints = robot.inverse(position, yaw)
        assert ((lower <= joints) & (joints <= upper)).all(), (robot.name, joints)


def test_what_is_too_far_is_out_of_reach(world: World) -> None:
    for position in ((2.0, 0.0, 0.1), (0.5, 0.0, 1.9)):
        assert world.robot.inverse(np.array(position), 0.0) is None


def test_motion_ends_where_it_was_sent(world: World) -> None:
    robot = world.robot
    over = robot.inverse(np.array([0.6, -0.2, 0.3]), 0.4)
    robot.move(over, tolerance=0.0015)
    assert np.abs(robot.joints() - over).max() < 0.0015
    assert np.abs(_tool(robot)[0] - (0.6, -0.2, 0.3)).max() < 0.003


def test_the_mobile_base_turns_only_at_its_dock(shared: World) -> None:
    """Two wheels a side cannot go sideways."""
    scene = shared.reset("sort", 3, "mobile")
    track: list[np.ndarray] = []
    shared.on_step = lambda: track.append(shared.robot.joints()[:2])
    try:
        assert shared.execute(Skill("pick", scene.items[0].name)).ok
        assert shared.execute(Skill("place", scene.items[0].name, "table")).ok
    finally:
        shared.on_step = None
    turn, drive = np.array(track).T
    sideways = np.abs(np.diff(turn)) * np.abs(drive[1:])
    assert isinstance(shared.robot, Mobile)
    assert drive.max() > 0.03
    assert np.abs(turn).max() > 0.02
    # m a step; the whole way to the side that turning while away would have made is centimetres
    assert sideways.sum() < 0.002


# ---- grasping


@pytest.mark.parametrize("kind", ["block", "cylinder"])
def test_a_grasp_holds_on_the_way_and_lets_go_when_told(world: World, kind: str) -> None:
    item = next(item for item in world.scene.items if item.kind == kind)
    assert world.execute(Skill("pick", item.name)).ok
    assert world.state().of(item.name) == Fact(item.name, "held", "gripper")
    apart = np.subtract(world.pose(item.name).position, skills.carry_pose(world, item).position)
    assert np.abs(apart).max() < 0.004
    side = world.robot.inverse(np.array([0.45, 0.2, 0.35]), 0.3)
    world.robot.move(side)
    assert world.state().held == item.name
    world.robot.release(item.size)
    assert world.state().held is None
    for _ in range(240):
        world.step()
    # it fell, and a cylinder may still roll
    assert world.pose(item.name).position[2] < 0.06
    assert not world.robot.touches(world.bodies[item.name])


def test_a_grasp_beside_an_object_holds_nothing(world: World) -> None:
    item = world.scene.items[0]
    x, y, z = world.pose(item.name).position
    beside = world.robot.inverse(np.array([x, y, z + 0.12]), 0.0)
    world.robot.move(beside)
    world.robot.grasp(world.bodies[item.name], item.size)
    world.robot.move(world.robot.carry)
    assert world.state().held is None
    assert world.state().of(item.name) == Fact(item.name, "on", "table")


def test_suction_ends_where_the_lip_no_longer_touches(shared: World) -> None:
    scene = shared.reset("stack", 1, "kuka")
    item = scene.items[0]
    assert isinstance(shared.robot.gripper, Suction)
    assert shared.execute(Skill("pick", item.name)).ok
    x, y, z = shared.pose(item.name).position
    turn = shared.pose(item.name).quaternion
    shared.bullet.resetBasePositionAndOrientation(shared.bodies[item.name], (x, y, z - 0.01), turn)
    assert shared.state().held is None


def test_a_copy_of_the_world_holds_the_same(world: World) -> None:
    item = world.scene.items[0]
    assert world.execute(Skill("pick", item.name)).ok
    with World() as other:
        other.mirror(world)
        assert other.robot.name == world.robot.name
        assert other.state() == world.state()
        assert other.execute(Skill("place", item.name, "table")).ok
        assert world.execute(Skill("place", item.name, "table")).ok
        here, there = world.pose(item.name).position, other.pose(item.name).position
        assert np.abs(np.subtract(here, there)).max() < 1e-4


def test_what_is_in_hand_survives_a_restore_from_any_later_moment(world: World) -> None:
    item, other = world.scene.items[:2]
    assert world.execute(Skill("pick", item.name)).ok
    remembered = world.snapshot()
    ends = []
    for _ in range(2):
        assert world.execute(Skill("place", item.name, "table")).ok
        ends.append((world.pose(item.name), world.steps, world.picture().tobytes()))
        assert world.execute(Skill("pick", other.name)).ok
        world.restore(remembered)
        assert world.state().held == item.name
    world.forget(remembered)
    assert ends[0] == ends[1]


# ---- pictures


def _pixels(world: World) -> np.ndarray:
    """Visible pixels [views, items] of each item."""
    counts = []
    for view in world.scene.look.views:
        seen = world.bullet.getCameraImage(
            SIZE, SIZE,
            pybullet.computeViewMatrix(view.eye, view.target, (0, 0, 1)),
            pybullet.computeProjectionMatrixFOV(view.fov_deg, 1.0, 0.1, 4.0),
            renderer=pybullet.ER_TINY_RENDERER,
        )[4]  # fmt: skip
        counts.append([np.count_nonzero(np.equal(seen, world.bodies[i.name])) for i in world.scene.items])
    return np.array(counts)


@pytest.mark.parametrize("arm", ["home", "carry"])
def test_at_home_and_when_carrying_the_robot_hides_nothing_on_the_table(world: World, arm: str) -> None:
    world.pose_state({}, arm)
    with_robot = _pixels(world)
    world.bullet.resetBasePositionAndOrientation(world.robot.body, (0, 0, -8), (0, 0, 0, 1))
    assert np.array_equal(with_robot, _pixels(world))
    assert (with_robot.sum(axis=0) > 150).all()


def test_both_cameras_see_what_is_carried(world: World) -> None:
    item = world.scene.items[0]
    world.pose_state({item.name: skills.carry_pose(world, item)}, "carry", item.size)
    assert world.state().held == item.name
    front, side = _pixels(world)[:, 0]
    assert min(front, side) > 100


def test_portraits_show_each_robot_with_something_in_hand(shared: World) -> None:
    drawn = [draw_robots.portrait(shared, name) for name in EVERY]
    assert {picture.shape for picture in drawn} == {(360, 360, 3)}
    for picture in drawn[1:]:
        assert (np.abs(picture.astype(int) - drawn[0]).max(axis=2) > 40).mean() > 0.02
