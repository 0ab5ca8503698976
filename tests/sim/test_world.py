"""The world remembers exactly, refuses what is impossible, and imagines what then happens."""

import numpy as np
import pytest

from sim import robots, tasks
from sim.oracle import next_skill
from sim.scene import Skill
from sim.world import World


def test_restore_is_exact_also_with_something_in_hand() -> None:
    with World() as world:
        scene = world.reset("stack", 1)
        first = next_skill(scene.goal, world.state())
        assert first is not None
        assert world.execute(first).ok
        remembered = world.snapshot()
        futures = []
        for _ in range(2):
            skill = next_skill(scene.goal, world.state())
            assert skill is not None
            assert skill.verb == "place"
            assert world.execute(skill).ok
            futures.append((world.picture(), world.pose(skill.object), world.steps))
            world.restore(remembered)
            assert world.state().held == first.object
        world.forget(remembered)
        assert np.array_equal(futures[0][0], futures[1][0])
        assert futures[0][1:] == futures[1][1:]


def test_reading_and_looking_change_nothing() -> None:
    ends = []
    for look in (False, True):
        with World() as world:
            scene = world.reset("zone", 5)
            for _ in range(2):
                skill = next_skill(scene.goal, world.state())
                assert skill is not None
                world.execute(skill)
                if look:
                    world.picture()
                    world.state()
                    world.legal_skills()
            ends.append([world.pose(item.name) for item in scene.items])
    assert ends[0] == ends[1]


def test_illegal_skills_are_refused_and_move_nothing() -> None:
    with World() as world:
        scene = world.reset("stack", 0)
        name, steps = scene.items[0].name, world.steps
        for skill in (
            Skill("place", name, "table"),
            Skill("pick", "grey elephant"),
            Skill("throw", name),
        ):
            result = world.execute(skill)
            assert not result.ok
            assert result.detail
        assert world.steps == steps


def test_legal_skills_follow_the_state() -> None:
    with World() as world:
        scene = world.reset("container", 1)
        picks = world.legal_skills()
        assert {skill.verb for skill in picks} == {"pick"}
        assert len(picks) == len(scene.items)
        assert world.execute(picks[0]).ok
        places = world.legal_skills()
        assert {skill.verb for skill in places} == {"place"}
        assert {skill.object for skill in places} == {picks[0].object}
        assert "table" in {skill.target for skill in places}
        assert scene.receptacles[0].name in {skill.target for skill in places}


# every robot in the first families, the Panda in all, and an xArm where things are led and pushed
CASES = [(family, robot) for family in tasks.FIRST for robot in robots.ROBOTS]
CASES += [(family, "panda") for family in tasks.FAMILIES if family not in tasks.FIRST]
CASES += [("kitchen", "xarm"), ("push", "xarm"), ("pyramid", "kuka"), ("row", "mobile")]


@pytest.mark.parametrize(("family", "robot"), CASES)
def test_imagining_a_skill_gives_the_state_and_nearly_the_picture(family: str, robot: str) -> None:
    with World() as world:
        scene = world.reset(family, 9, robot)
        for _ in range(1 if family == "push" else 2):
            skill = next_skill(scene.goal, world.state())
            assert skill is not None
            remembered = world.snapshot()
            world.imagine(skill)
            imagined, state = world.picture(), world.state()
            world.restore(remembered)
            world.forget(remembered)
            assert world.execute(skill).ok
            assert world.state() == state
            far = np.abs(imagined.astype(int) - world.picture()).max(axis=2) > 40
            assert far.mean() < 0.004


def test_frames_are_stamped_calibrated_and_show_the_pinhole_model() -> None:
    with World() as world:
        scene = world.reset("stack", 0)
        observation = world.observation()
        assert [frame.camera for frame in observation.frames] == ["front", "side"]
        assert observation.seq == world.steps
        assert observation.stamp_s == pytest.approx(world.steps / 240)
        item = scene.items[0]
        for view, frame in zip(scene.look.views, observation.frames, strict=True):
            remembered = world.snapshot()
            world.pose_state({item.name: None})
            gone = world.view(view.name).rgb
            world.restore(remembered)
            world.forget(remembered)
            rows, columns = np.nonzero((gone != frame.rgb).any(axis=2))
            column, row = view.project((item.x, item.y, item.z))
            assert abs(columns.mean() - column) < 3
            assert abs(rows.mean() - row) < 3
            assert 12 <= view.camera.k[0] * item.size / 1.3 <= 20


def test_two_worlds_do_not_disturb_each_other() -> None:
    with World() as one, World() as other:
        one.reset("stack", 0)
        before = [one.pose(item.name) for item in one.scene.items]
        other.reset("sort", 0)
        other.execute(other.legal_skills()[0])
        assert [one.pose(item.name) for item in one.scene.items] == before
