"""The generalisation suite: what it asks is in no scene that training can draw, by construction."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sim import data, language, robots, tasks
from sim.language.grammar import match, normal
from sim.oracle import next_skill
from sim.scene import BENCHMARK_FIRST_SEED, COLOURS, PAINT, TALLEST, UNSEEN_COLOURS, Scene
from sim.tasks import FAMILIES, held_out, like, make_scene, robots_for, trained_robots
from sim.world import World
from tools.make_embodied_suite import read

SUITE = read("embodied-generalisation")
SCENES = [make_scene(**row) for row in SUITE["scenes"]]
# scenes as training draws them, of every family
TRAINED = [make_scene(family, seed) for family in FAMILIES for seed in range(20)]
_COLOUR = re.compile(rf"\b(?:{'|'.join(PAINT)}) ")


def of(family: str) -> list[Scene]:
    return [scene for scene in SCENES if scene.family == family]


def things(scene: Scene) -> list[str]:
    """Colours of all that a scene has."""
    return [thing.colour for thing in (*scene.items, *scene.receptacles, *scene.buttons)]


def uncoloured(text: str) -> str:
    return _COLOUR.sub("", normal(text))


def test_there_are_as_many_of_each_kind_and_each_says_what_it_is_like() -> None:
    assert Counter(scene.family for scene in SCENES) == dict.fromkeys(held_out.HELD_OUT, 20)
    for row, told in zip(SUITE["scenes"], SUITE["manifest"].values(), strict=True):
        assert told["like"] == like(row["family"], row["seed"])
        assert row["robot"] in robots_for(told["like"])
    assert {scene.robot for scene in SCENES} == set(robots.ROBOTS)


@pytest.mark.parametrize("family", held_out.HELD_OUT)
def test_training_cannot_draw_a_held_out_family(family: str, tmp_path: Path) -> None:
    assert family not in FAMILIES
    assert family not in tasks.chosen("all")
    with pytest.raises(ValueError, match="unknown family"):
        data.write(tmp_path / "no", episodes=1, families=family)
    for seed in (0, BENCHMARK_FIRST_SEED - 1):
        with pytest.raises(ValueError, match="held out from training"):
            make_scene(family, seed)
    make_scene(family, BENCHMARK_FIRST_SEED)


def test_colours_are_none_of_trainings() -> None:
    assert not set(UNSEEN_COLOURS) & set(COLOURS)
    assert not set(UNSEEN_COLOURS.values()) & set(COLOURS.values())
    for scene in of("new_colours"):
        assert len(set(things(scene)) & set(UNSEEN_COLOURS)) >= 2
    others = [scene for scene in SCENES if scene.family != "new_colours"]
    for scene in (*TRAINED, *others):
        assert set(things(scene)) <= set(COLOURS)


def test_robots_are_never_trained_with_their_pairs(tmp_path: Path) -> None:
    for robot, family in held_out.PAIRS:
        assert robot in robots_for(family)
        assert robot not in trained_robots(family)
        # the robot is known, and so is the family
        assert trained_robots(family)
        assert any(robot in trained_robots(other) for other in FAMILIES)
        with pytest.raises(ValueError, match=f"{robot} with {family} is held out"):
            data.write(tmp_path / "no", episodes=1, robot=robot, families=family)
    every = tuple(FAMILIES)
    met = {(data.robot_of(s, tuple(robots.ROBOTS), every), data.family_of(s, every)) for s in range(23 * 12)}
    assert met == {(robot, family) for family in FAMILIES for robot in trained_robots(family)}
    asked = {(scene.robot, like(scene.family, scene.seed)) for scene in of("new_pairs")}
    assert asked == set(held_out.PAIRS)
    others = [scene for scene in SCENES if scene.family != "new_pairs"]
    assert all(scene.robot in trained_robots(like(scene.family, scene.seed)) for scene in others)


def test_words_are_none_that_training_can_say() -> None:
    assert set(language.UNSEEN) == {*language.FORMS, "stack four"}
    slots = {slot: f"red {slot}" for slot in "abcdrsk"}
    known = [template for form in language.FORMS.values() for template in form.templates]
    for name, form in language.UNSEEN.items():
        assert len(set(form.templates)) == len(form.templates) >= 2
        for template in form.templates:
            said = template.format(**slots)
            assert not [t for t in known if match(t, said) is not None], (name, template)
    # the bare sentence: what no template of training gives with any slots
    for scene in of("new_words"):
        if like(scene.family, scene.seed) != "chain":
            assert not [t for t in known if match(t, scene.instruction) is not None], scene.instruction
    said_in_training = {uncoloured(scene.instruction) for scene in TRAINED}
    assert not said_in_training & {uncoloured(scene.instruction) for scene in of("new_words")}


def test_things_are_put_together_as_in_no_training_scene() -> None:
    def told(scene: Scene) -> tuple[object, ...]:
        """What goes where, by kinds, and which places there are."""
        kinds = {item.name: item.kind for item in scene.items}
        kinds |= {r.name: r.kind for r in scene.receptacles}
        facts = {
            (fact.relation, kinds.get(fact.object), tuple(map(kinds.get, fact.target.split(" and "))))
            for fact in scene.goal.facts
        }
        places = tuple(sorted(r.kind for r in scene.receptacles))
        return (like(scene.family, scene.seed), places, *sorted(facts, key=repr))

    trained = {told(scene) for scene in TRAINED}
    for scene in of("new_things"):
        assert told(scene) not in trained, scene.instruction
    kinds = {scene.seed % len(held_out.OWN["new_things"]) for scene in of("new_things")}
    assert len(kinds) == 6


def test_towers_are_higher_than_any_of_training() -> None:
    def highest(scene: Scene) -> int:
        """Objects in the highest tower, at first or in the goal."""
        below = {fact.object: fact.target for fact in scene.goal.facts if fact.relation == "on"}

        def depth(name: str) -> int:
            return 1 + depth(below[name]) if name in below else 0

        drawn = Counter((item.x, item.y) for item in scene.items)
        return max(*drawn.values(), *(depth(name) for name in below), 0)

    for scene in TRAINED:
        assert scene.tallest == TALLEST == 3
        assert highest(scene) <= 3
    for scene in of("new_heights"):
        assert scene.tallest == 4
        assert highest(scene) == 4


def test_every_sentence_reads_back_as_its_goal() -> None:
    for family in held_out.HELD_OUT:
        for seed in range(BENCHMARK_FIRST_SEED, BENCHMARK_FIRST_SEED + 69):
            scene = make_scene(family, seed)
            assert language.parse_instruction(scene.instruction, scene) == scene.goal, scene.instruction


def test_a_fourth_block_may_be_placed_where_the_scene_allows_it_and_nowhere_else() -> None:
    (scene, *_) = [s for s in of("new_heights") if like(s.family, s.seed) == "stack"]
    with World() as world:
        for tallest in (4, 3):
            world.build(replace(scene, tallest=tallest))
            for _ in range(5):
                skill = next_skill(scene.goal, world.state())
                assert skill is not None
                assert world.execute(skill).ok
            skill = next_skill(scene.goal, world.state())
            assert skill is not None
            assert skill.verb == "place"
            assert (skill in world.legal_skills()) is (tallest == 4)
            assert world.execute(skill).ok is (tallest == 4)
            assert all(world.success().values()) is (tallest == 4)
