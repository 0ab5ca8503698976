"""Everything that the lessons' grammars can write they can read."""

import itertools

import numpy as np
import pytest

from sim.language.lessons import explore, howto, phrases, story, t2i, x2i
from sim.language.lessons.explore import Command
from sim.language.lessons.t2i import Group, Wish
from sim.language.lessons.x2i import Edit
from sim.scene import TABLE, Fact, Skill
from sim.tasks import FAMILIES, make_scene

SCENE = make_scene("container", 3)
ITEMS = [item.name for item in SCENE.items]


def draws(count: int = 60) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_pictures_in_words_read_back() -> None:
    groups = (Group(2, "red", "block"), Group(1, "orange", "cylinder"), Group(1, "blue", "box"))
    for relation in phrases.PLACES:
        wish = Wish(groups, (Fact("orange cylinder", relation, "blue box"),))
        texts = {t2i.word(wish, rng) for rng in draws()}
        assert len(texts) > 20
        for text in texts:
            assert t2i.parse(text) == wish, text
            assert t2i.parse(f"{text.capitalize()}.") == wish, text
    assert t2i.parse(t2i.word(Wish(groups[:1]), np.random.default_rng(0))) == Wish(groups[:1])


def test_an_orange_thing_has_its_article() -> None:
    assert phrases.articles("a orange block and a red box") == "an orange block and a red box"


@pytest.mark.parametrize("text", ["", "a pink block", "five red blocks", "a red block. it is nice"])
def test_what_is_no_picture_in_words_is_none(text: str) -> None:
    assert t2i.parse(text) is None


@pytest.mark.parametrize("verb", list(x2i.TEMPLATES))
def test_each_way_to_ask_for_an_edit_reads_back(verb: str) -> None:
    places = list(phrases.PLACES) if verb.startswith(("add", "move")) else [""]
    for relation in places:
        edit = {
            "recolour": Edit(verb, "red block", "orange"),
            "recolour seen": Edit(verb, "red block", "orange"),
            "remove": Edit(verb, "red block"),
            "replace": Edit(verb, "red block", "orange cylinder"),
            "move": Edit(verb, "red block", "", relation, "cyan box"),
        }.get(verb, Edit(verb, "", "orange cylinder", relation, "cyan box"))
        texts = {x2i.word(edit, rng) for rng in draws()}
        assert len(texts) >= len(x2i.TEMPLATES[verb])
        for text in texts:
            assert x2i.parse(text, "orange cylinder") == edit, text
    assert x2i.parse("please eat the red block") is None


def test_commands_and_walks_read_back() -> None:
    commands = [Command(turn, 45) for turn in explore.TURNS]
    commands += [Command(move) for move in explore.TEMPLATES if move not in explore.TURNS]
    for command, paraphrase in itertools.product(commands, range(3)):
        text = explore.word(command, paraphrase)
        assert explore.parse(text) == command
        assert explore.parse(f"{text.capitalize()}.") == command
    said = [explore.word(command) for command in commands]
    for rng in draws(12):
        for seen in (None, [("red", "block"), ("blue", "box")]):
            question = explore.word_question(said, rng, free=False, seen=seen)
            assert explore.parse_question(question) == commands
            question = explore.word_question(said, rng, free=True, seen=seen)
            assert explore.parse_question(question) == len(commands)
    assert explore.parse("fly to the moon") is None
    assert explore.parse_question("tell me a joke") is None


@pytest.mark.parametrize("family", list(FAMILIES))
def test_guides_read_back(family: str) -> None:
    scene = make_scene(family, 5)
    for rng in draws(10):
        for steps in (None, 3):
            question = howto.word_question(scene.instruction, rng, steps)
            assert howto.parse_question(question, scene) == (scene.goal, steps), question
    skill = Skill("place", scene.items[0].name, TABLE)
    for paraphrase in range(3):
        assert howto.parse_step(howto.word_step(2, skill, scene, paraphrase), scene) == (2, skill)
    assert howto.parse_step("pick something", scene) is None
    assert howto.parse_question("what is the time?", scene) is None


def test_what_happens_in_a_panel_reads_back() -> None:
    actors = [story.NAMES[item.colour] for item in SCENE.items]
    skills = [Skill("place", ITEMS[0], ITEMS[1], r) for r in ("left_of", "right_of", "in_front_of", "behind")]
    skills += [Skill("place", ITEMS[0], target) for target in (ITEMS[1], TABLE, SCENE.receptacles[0].name)]
    for skill in skills:
        texts = {story.word_move(skill, SCENE, rng) for rng in draws(30)}
        assert len(texts) >= 2
        for text in texts:
            assert story.parse_move(text, SCENE) == (skill, False), text
            assert actors[0] in text
    home = Skill("place", ITEMS[0], TABLE)
    for rng in draws(10):
        assert story.parse_move(story.word_move(home, SCENE, rng, home=True), SCENE) == (home, True)
    assert story.parse_move("Nobody moves.", SCENE) is None


def test_the_cast_reads_back() -> None:
    things = [(i.colour, i.kind) for i in SCENE.items] + [(r.colour, r.kind) for r in SCENE.receptacles]
    for rng in draws(20):
        assert story.parse_question(story.word_question(SCENE, 7, rng)) == (7, things)
        opening = story.word_opening(SCENE, rng)
        assert all(f"{story.NAMES[item.colour]} the {item.name}" in opening for item in SCENE.items)
