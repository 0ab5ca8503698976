"""Drawers, cabinets and buttons: open and close by their knobs, press, refuse, remember."""

from collections.abc import Iterator

import numpy as np
import pytest

from sim import episode, fixtures, motion, robots, tasks
from sim.scene import Fact, Pose, Skill
from sim.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.mark.parametrize("family", ["drawer_get", "cabinet_get"])
@pytest.mark.parametrize("robot", tasks.LEADERS)
def test_opens_and_closes_and_what_is_inside_stays_inside(world: World, family: str, robot: str) -> None:
    scene = world.reset(family, 3, robot)
    what = scene.receptacles[0].name
    before = world.state()
    inside = before.inside(what)
    assert inside
    assert before.part(what) == "closed"
    assert all(before.shut_in(name) == what for name in inside)
    assert not world.execute(Skill("close", what)).ok
    assert "shut in" in world.execute(Skill("pick", inside[0])).detail
    assert world.execute(Skill("open", what)).ok
    after = world.state()
    assert after.part(what) == "open"
    assert sorted(after.inside(what)) == sorted(inside)
    assert all(after.shut_in(name) is None for name in inside)
    assert not world.execute(Skill("open", what)).ok
    assert world.execute(Skill("close", what)).ok
    assert world.state().part(what) == "closed"
    assert sorted(world.state().inside(what)) == sorted(inside)


def test_fractions_and_knobs_agree_with_the_bodies(world: World) -> None:
    for family in ("drawer_put", "cabinet_put"):
        scene = world.reset(family, 5)
        what = scene.receptacles[0]
        moving = world.bullet.getNumJoints(world.bodies[what.name]) - 1
        for fraction, told in (
            (0.0, "closed"),
            (0.05, "closed"),
            (0.5, "ajar"),
            (0.95, "open"),
            (1.0, "open"),
        ):
            world.pose_state({}, parts={what.name: fraction})
            assert world.fraction(what.name) == pytest.approx(fraction)
            assert world.state().part(what.name) == told
            # the knob's body lies within a knob's height below the point where it is grasped
            x, y, z = fixtures.knob(what, fraction)
            low = world.bullet.getAABB(world.bodies[what.name], moving)
            assert low[0][0] - 0.001 <= x <= low[1][0] + 0.001
            assert low[0][1] - 0.001 <= y <= low[1][1] + 0.001
            assert low[0][2] < z < low[1][2] + 0.001


def test_a_tall_pile_in_a_lids_way_is_an_obstacle(world: World) -> None:
    scene = world.reset("cabinet_put", 5)
    what, item = scene.receptacles[0], scene.items[0]
    assert Skill("open", what.name) in world.legal_skills()
    x, y = fixtures.world_point(what, -what.half[0] - 0.08, 0.0)
    world.pose_state({item.name: Pose.upright(x, y, 0.07)})
    assert "in the way" in world.execute(Skill("open", what.name)).detail
    world.pose_state({item.name: Pose.upright(x, y, item.size / 2)})
    assert Skill("open", what.name) in world.legal_skills()


def test_nothing_goes_into_what_is_closed(world: World) -> None:
    scene = world.reset("drawer_put", 2)
    item, drawer = scene.goal.facts[0].object, scene.receptacles[0].name
    if scene.goal.facts[0].relation != "in":
        item = scene.goal.facts[1].object
    world.pose_state({item: Pose.upright(0.6, 0.2, scene.item(item).size / 2)})
    assert world.execute(Skill("pick", item)).ok
    assert "is closed" in world.execute(Skill("place", item, drawer)).detail
    # and with something in hand nothing is opened
    assert "the gripper holds" in world.execute(Skill("open", drawer)).detail


def test_each_press_turns_the_lamp_and_a_stage_needs_its_order(world: World) -> None:
    seed = next(s for s in range(30) if "last" not in _form(s))
    scene = world.reset("button", seed)
    button, item = scene.buttons[0].name, scene.goal.facts[0].object
    where = scene.goal.facts[0].target
    assert world.state().part(button) == "dark"
    # the object first: that is the wrong order here
    for skill in (Skill("pick", item), Skill("place", item, where), Skill("press", button)):
        assert world.execute(skill).ok
    assert world.state().part(button) == "lit"
    verdict = world.success()
    assert verdict[f"{item} in {where}"]
    assert verdict[f"{button} lit"]
    assert not all(verdict.values())
    assert world.execute(Skill("press", button)).ok
    assert world.state().part(button) == "dark"


def _form(seed: int) -> str:
    """Either "first" or "last": whether the object still has to be on the table when the lamp is lit."""
    stage = tasks.make_scene("button", seed).goal.stages[0]
    return "first" if any(fact.relation == "lit" for fact in stage) else "last"


def test_snapshots_remember_parts_lamps_and_stages_exactly(world: World) -> None:
    scene = world.reset("kitchen", 3)
    drawer, button = scene.receptacles[0].name, scene.buttons[0].name
    assert world.execute(Skill("open", drawer)).ok
    remembered = world.snapshot()
    ends = []
    for _ in range(2):
        assert world.execute(Skill("press", button)).ok
        assert world.execute(Skill("close", drawer)).ok
        ends.append((world.picture(), world.steps, world.fraction(drawer), world.state()))
        world.restore(remembered)
        assert world.state().part(drawer) == "open"
        assert world.state().part(button) == "dark"
    world.forget(remembered)
    assert np.array_equal(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]


def test_a_mirror_has_the_same_parts(world: World) -> None:
    scene = world.reset("kitchen", 3)
    drawer, button = scene.receptacles[0].name, scene.buttons[0].name
    assert world.execute(Skill("press", button)).ok
    assert world.execute(Skill("open", drawer)).ok
    with World() as other:
        other.mirror(world)
        assert np.array_equal(other.picture(), world.picture())
        assert other.state() == world.state()
        assert other.state().parts == (Fact(drawer, "open"), Fact(button, "lit"))


@pytest.mark.parametrize("robot", list(robots.ROBOTS))
def test_robots_that_cannot_lead_are_told_so(world: World, robot: str) -> None:
    scene = world.reset("kitchen", 1, robot)
    assert motion.can_lead(world.robot) == (robot in tasks.LEADERS)
    able = Skill("press", scene.buttons[0].name) in world.legal_skills()
    assert able == (robot in tasks.LEADERS)
    if not able:
        assert "cannot open" in world.execute(Skill("open", scene.receptacles[0].name)).detail


@pytest.mark.parametrize("family", ["kitchen", "push_place"])
def test_episodes_are_the_same_bits_whatever_was_simulated_before(world: World, family: str) -> None:
    world.reset("cabinet_get", 1)
    assert world.execute(world.legal_skills()[0]).ok
    episodes = [episode.record(world, family, 5)]
    with World() as other:
        episodes.append(episode.record(other, family, 5))
    first, second = episodes
    assert first.steps == second.steps
    assert first.states == second.states
    for one, two in zip(first.pictures, second.pictures, strict=True):
        assert np.array_equal(one, two)
