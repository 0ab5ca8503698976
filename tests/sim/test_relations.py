"""Relations on constructed cases, at their limits in metres; spots that make them true."""

from collections.abc import Iterator

import pytest

from sim import relations
from sim.scene import TABLE, Fact, Pose, Skill, pair
from sim.world import World


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """Three blocks of two sizes; the first in the middle, the others far away."""
    shared.reset("pyramid", 4)
    for index, item in enumerate(shared.scene.items):
        shared.pose_state({item.name: Pose.upright(0.40, -0.20 + 0.11 * index, item.size / 2)})
    shared.pose_state({_a(shared): Pose.upright(0.55, 0.0, shared.scene.item(_a(shared)).size / 2)})
    return shared


def _a(world: World) -> str:
    return world.scene.items[0].name


def _b(world: World) -> str:
    return world.scene.items[1].name


def _put(world: World, name: str, x: float, y: float, yaw: float = 0.0) -> set[str]:
    """Move an item on the table; which relations it has to the first item."""
    world.pose_state({name: Pose.upright(x, y, world.scene.item(name).size / 2, yaw)})
    return {f.relation for f in world.state().spatial if (f.object, f.target) == (name, _a(world))}


@pytest.mark.parametrize(
    ("dx", "dy", "told"),
    [
        (0.0, -0.09, {"left_of"}),
        (0.0, 0.09, {"right_of"}),
        (0.09, 0.0, {"in_front_of"}),
        (-0.09, 0.0, {"behind"}),
        (0.029, 0.134, {"right_of"}),
        (0.031, 0.134, set()),
        (0.0, 0.137, set()),
        (0.0, 0.053, set()),
        (0.09, 0.09, set()),
    ],
)
def test_sides_as_the_front_camera_sees_them(world: World, dx: float, dy: float, told: set[str]) -> None:
    # a little turned, so that nothing is beside
    assert _put(world, _b(world), 0.55 + dx, dy, 0.4) == told


def test_the_front_camera_has_left_of_on_the_left(world: World) -> None:
    view = world.scene.look.views[0]
    a, left = view.project((0.55, 0.0, 0.02)), view.project((0.55, -0.09, 0.02))
    near = view.project((0.64, 0.0, 0.02))
    assert left[0] < a[0]
    assert near[1] > a[1]


def test_beside_needs_faces_that_nearly_touch_and_the_same_turn(world: World) -> None:
    b = _b(world)
    size = (world.scene.item(b).size + world.scene.item(_a(world)).size) / 2
    assert "beside" in _put(world, b, 0.55 + size + 0.003, 0.0)
    assert "beside" in _put(world, b, 0.55, -size - 0.006)
    assert "beside" not in _put(world, b, 0.55 + size + 0.014, 0.0)
    assert "beside" not in _put(world, b, 0.55 + size + 0.003, 0.010)
    assert "beside" not in _put(world, b, 0.55 + size + 0.006, 0.0, 0.3)


def test_between_is_the_middle_part_of_the_line(world: World) -> None:
    b, c = _b(world), world.scene.items[2].name
    _put(world, b, 0.55, 0.20)
    fact = Fact(c, "between", pair(_a(world), b))
    for dx, y, told in ((0.0, 0.10, True), (0.0, 0.05, False), (0.02, 0.13, True), (0.03, 0.10, False)):
        _put(world, c, 0.55 + dx, y)
        assert (fact in world.state().spatial) == told


def test_only_what_stands_on_the_table_is_related(world: World) -> None:
    a, b = _a(world), _b(world)
    height = world.scene.item(a).size + world.scene.item(b).size / 2
    world.pose_state({b: Pose.upright(0.55, 0.0, height)})
    state = world.state()
    assert state.of(b) == Fact(b, "on", a)
    assert not [fact for fact in state.spatial if fact.object == b]


def test_every_spot_makes_its_relation_true(world: World) -> None:
    a, b = _a(world), _b(world)
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    for relation in (*relations.DIRECTIONS, "beside"):
        for spot in relations.spots(world.scene, poses, b, relation, a):
            world.pose_state({b: spot})
            assert Fact(b, relation, a) in world.state().spatial


def test_a_taken_spot_is_left_out_and_a_full_side_refused(world: World) -> None:
    a, b, c = (item.name for item in world.scene.items[:3])
    poses = {item.name: world.pose(item.name) for item in world.scene.items}
    assert relations.free_spot(world.scene, poses, b, "right_of", a) is not None
    poses[c] = Pose.upright(0.55, 0.09, 0.024)
    assert relations.free_spot(world.scene, poses, b, "right_of", a) is None
    assert relations.free_spot(world.scene, poses, b, "left_of", a) is not None
    # at the table's edge there is no room
    poses[a] = Pose.upright(0.55, -0.22, 0.024)
    assert relations.free_spot(world.scene, poses, b, "left_of", a) is None


def test_resting_on_two_blocks_is_resting_on_both(world: World) -> None:
    a, b, c = (item.name for item in world.scene.items[:3])
    size = world.scene.item(a).size
    _put(world, b, 0.55, size + 0.003)
    top = size + world.scene.item(c).size / 2
    world.pose_state({c: Pose.upright(0.55, size / 2, top)})
    state = world.state()
    assert state.of(c) == Fact(c, "on", pair(a, b))
    assert state.above(a) == state.above(b) == c
    assert state.level(c) == (1, TABLE)
    # a pick from below is refused
    assert not world.execute(Skill("pick", a)).ok


def test_a_place_by_a_relation_ends_where_it_says(shared: World) -> None:
    scene = shared.reset("relate", 3)
    a, b = (fact.object for fact in scene.goal.facts), (fact.target for fact in scene.goal.facts)
    name, other = next(a), next(b)
    assert shared.execute(Skill("pick", name)).ok
    refused = shared.execute(Skill("place", name, name, "left_of"))
    assert not refused.ok
    relation = scene.goal.facts[0].relation
    assert Skill("place", name, other, relation) in shared.legal_skills()
    assert shared.execute(Skill("place", name, other, relation)).ok
    assert Fact(name, relation, other) in shared.state().spatial
