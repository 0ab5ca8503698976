"""The registry: groups, contracts, who can do what, and scenes that never begin solved."""

import pytest

from sim import tasks
from sim.scene import BENCHMARK_FIRST_SEED, Fact, Skill
from sim.tasks import FAMILIES, FIRST, GROUPS, make_scene
from sim.world import World


def test_there_are_families_enough_in_every_group() -> None:
    assert len(FAMILIES) >= 14
    assert len(GROUPS) >= 5
    for group in GROUPS:
        assert sum(family.group == group for family in FAMILIES.values()) >= 2
    assert set(FIRST) <= set(FAMILIES)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_contract_says_task_randomisation_and_success(family: str) -> None:
    contract = FAMILIES[family].contract
    for word in ("Task:", "Randomisation:", "Success:"):
        assert contract.count(word) == 1, word


@pytest.mark.parametrize("family", list(FAMILIES))
def test_scenes_are_functions_of_their_names_and_never_begin_solved(family: str) -> None:
    with World() as world:
        for seed in (5, BENCHMARK_FIRST_SEED + 5):
            scene = make_scene(family, seed)
            assert make_scene(family, seed) == scene
            world.build(scene)
            verdict = world.success()
            assert not all(verdict.values())
            assert verdict["gripper empty"]
            assert verdict["all at rest"]
            names = [item.name for item in scene.items] + [thing.name for thing in scene.fixed]
            assert len(set(names)) == len(names)
        assert make_scene(family, 5) != make_scene(family, 6)


def test_a_word_chooses_families() -> None:
    assert tasks.chosen("all") == tuple(FAMILIES)
    assert tasks.chosen("zone,stack,zone") == ("zone", "stack")
    assert tasks.chosen("pushing,row") == ("push", "push_place", "row")
    with pytest.raises(ValueError, match=r"unknown family 'juggle'; expected all, groups \(stacking"):
        tasks.chosen("stack,juggle")


def test_back_where_it_was_needs_to_have_been_away() -> None:
    """The end of `restore` looks like its beginning: only the stage tells them apart."""
    with World() as world:
        seed = next(s for s in range(30) if len(make_scene("restore", s).goal.facts) == 1)
        scene = world.reset("restore", seed)
        (back,), ((away,),) = scene.goal.facts, scene.goal.stages
        assert world.state().of(back.object) == back
        assert not all(world.success().values())
        # picked up and put back without the visit
        for skill in (Skill("pick", back.object), Skill("place", back.object, back.target)):
            assert world.execute(skill).ok
        assert world.state().of(back.object) == back
        assert world.state().stage == 0
        assert not all(world.success().values())
        for target in (away.target, back.target):
            assert world.execute(Skill("pick", back.object)).ok
            assert world.execute(Skill("place", back.object, target)).ok
        assert world.state().stage == 1
        assert all(world.success().values())


def test_a_new_goal_is_followed_from_its_beginning() -> None:
    with World() as world:
        scene = world.reset("zone", 2)
        world.follow(scene.goal)
        assert (world.goal, world.stage) == (scene.goal, 0)
        assert Fact(scene.items[0].name, "on", "table") in world.state().where
