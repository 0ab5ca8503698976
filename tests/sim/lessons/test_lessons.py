"""Lessons are what their task says: words, pictures and truth agree."""

import contextlib
import math
from collections.abc import Callable

import numpy as np
import pytest

from sim import lessons
from sim.camera import View
from sim.language.lessons import explore as walks
from sim.language.lessons import howto as guides
from sim.language.lessons import story as stories
from sim.language.lessons import t2i as scenes
from sim.language.lessons import x2i as changes
from sim.language.lessons.explore import Command
from sim.layout import NoRoomError
from sim.lessons.explore import draw_walk, way_back
from sim.lessons.grade import wish_of
from sim.lessons.lesson import IMAGE_THOUGHT, KINDS, PICTURE, THOUGHT, WORDS, Lesson, Thing
from sim.lessons.rig import Rig
from sim.state import satisfied
from sim.world import World

Get = Callable[[str, int], Lesson]


def differs(one: Thing | None, other: Thing | None) -> bool:
    """Another thing, or moved: what settles beside other things ends within a hair's breadth."""
    if one is None or other is None:
        return one is not other
    moved = math.dist(one.position, other.position) > 1e-3
    return moved or (one.kind, one.colour) != (other.kind, other.colour)


@pytest.mark.parametrize("task", list(lessons.TASKS))
def test_each_picture_has_its_truth(lesson: Get, task: str) -> None:
    for seed in range(3):
        made = lesson(task, seed)
        assert made.task == task
        assert len(made.pictures) == len(made.truths)
        assert all(picture.shape == (192, 384, 3) for picture in made.pictures)
        assert {part.kind for part in made.parts} <= set(KINDS)
        assert made.parts[-1].kind == PICTURE
        assert all(len(truth.views) == 2 and truth.things for truth in made.truths)


def test_a_picture_from_words_is_as_told(lesson: Get) -> None:
    facts = 0
    for seed in range(12):
        made = lesson("t2i", seed)
        wish = scenes.parse(made.instruction)
        assert wish == wish_of(made)
        there = [(thing.colour, thing.kind) for thing in made.truths[0].things]
        assert sorted(there) == sorted(
            (group.colour, group.kind) for group in wish.groups for _ in range(group.count)
        )
        assert all(satisfied(made.truths[0].state, fact) for fact in wish.facts)
        facts += len(wish.facts)
    assert facts > 2


def test_an_edit_changes_what_it_says_and_nothing_else(lesson: Get) -> None:
    verbs, doubled = set(), 0
    for seed in range(16):
        made = lesson("x2i", seed)
        edit = changes.parse(made.instruction, made.asked["new"])
        assert edit is not None
        verbs.add(edit.verb)
        before, after = made.truths[0], made.truths[-1]
        doubled += made.references == 2
        assert made.references == 1 + edit.seen
        if edit.seen:
            (only,) = made.truths[1].things
            assert edit.new in (only.colour, f"{only.colour} {only.kind}")
        was, now = ({t.name: t for t in truth.things} for truth in (before, after))
        assert before.views == after.views
        changed = {name for name in was.keys() | now.keys() if differs(was.get(name), now.get(name))}
        assert len(changed) in (1, 2)  # a thing that is painted has another name
        assert edit.object in changed or edit.verb.startswith("add")
    assert len(verbs) >= 5
    assert doubled


def test_a_guide_leads_to_its_goal(world: World, lesson: Get) -> None:
    for seed in range(6):
        made = lesson("howto", seed)
        scene = made.scenes[0]
        goal, count = guides.parse_question(made.instruction, scene)
        steps = [part.text for part in made.parts if part.kind == WORDS]
        assert 1 <= len(steps) <= 10
        assert count in (None, len(steps))
        assert [guides.parse_step(text, scene)[0] for text in steps] == list(range(1, len(steps) + 1))
        assert [part.kind for part in made.parts] == [THOUGHT] + [WORDS, IMAGE_THOUGHT, PICTURE] * len(steps)
        assert all(satisfied(made.truths[-1].state, fact) for fact in goal.facts)
        assert all(truth.state.held is None for truth in made.truths)


def test_a_story_keeps_its_actors(lesson: Get) -> None:
    lengths, seen = set(), set()
    for seed in range(8):
        made = lesson("story", seed)
        panels, cast = stories.parse_question(made.instruction)
        assert 5 <= panels <= 12
        assert len(made.answer) == panels
        for truth in made.truths:
            assert sorted((thing.colour, thing.kind) for thing in truth.things) == sorted(cast)
            assert all(fact.relation in ("on", "in") for fact in truth.state.where)
        # something happens in every panel
        assert all((one != other).any() for one, other in zip(made.answer, made.answer[1:], strict=False))
        lengths.add(panels)
        seen.add(made.references)
    assert len(lengths) > 2
    assert seen == {0, 1}


def test_a_walk_returns_and_moves_nothing(lesson: Get) -> None:
    for seed in range(4):
        made = lesson("explore", seed)
        commands = [Command(move, degrees) for move, degrees in made.asked["commands"]]
        assert 40 <= len(commands) <= 48
        said = [walks.parse(part.text) for part in made.parts if part.kind == WORDS]
        assert [command for command in said if command] == commands
        assert walks.parse_question(made.instruction) in (commands, len(commands))
        assert np.array_equal(made.pictures[0], made.pictures[-1])
        assert made.truths[0].views == made.truths[-1].views
        assert len({truth.things for truth in made.truths}) == 1
        assert len({truth.views for truth in made.truths}) > 8


def test_left_is_where_the_camera_sees_left() -> None:
    view = View("front", (1.4, 0.0, 0.9), (0.485, 0.0, 0.08), 27.0)
    column, _ = view.project(Rig().after(Command("left", 15)).views([view])[0].eye[:2] + (0.0,))
    assert column < 96
    nearer = Rig().after(Command("nearer")).views([view])[0]
    assert nearer.eye[0] < view.eye[0]
    assert Rig().after(Command("up")).views([view])[0].eye[2] > view.eye[2]
    with pytest.raises(ValueError, match="too far"):
        Rig().after(Command("up")).after(Command("up"))


def test_a_walk_has_its_length_and_a_way_back() -> None:
    rig = Rig(75, 1, -1)
    for command in way_back(rig):
        rig = rig.after(command)
    assert rig == Rig()
    lengths = []
    for seed in range(20):
        with contextlib.suppress(NoRoomError):
            lengths.append(len(draw_walk(np.random.default_rng(seed), 44)))
    assert len(lengths) > 5
    assert set(lengths) == {44}


def test_tasks_are_chosen_by_name() -> None:
    assert lessons.chosen("all") == tuple(lessons.TASKS)
    assert lessons.chosen("x2i,t2i,x2i") == ("x2i", "t2i")
    assert [lessons.task_of(seed, ("x2i", "t2i")) for seed in range(3)] == ["x2i", "t2i", "x2i"]
    with pytest.raises(ValueError, match="unknown task 'sing'"):
        lessons.chosen("t2i,sing")


def test_no_lesson_without_a_task_or_a_seed(world: World) -> None:
    with pytest.raises(ValueError, match="unknown task"):
        lessons.make(world, "vla", 0)
    with pytest.raises(ValueError, match="negative"):
        lessons.make(world, "t2i", -1)
