"""The simulator as a teacher: full marks for the oracle, none for nonsense, the same in every process."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from emu_planner.plan.step import Keyframe, Step
from sim import language
from sim.bench.evaluate import oracle_steps
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.camera import VIEWS
from sim.oracle import next_skill
from sim.rewards import (
    FIRST_REWARDS,
    PLAN_REWARDS,
    Answer,
    Curriculum,
    Situation,
    Teacher,
    judge_first,
    steps_left,
)
from sim.scene import BENCHMARK_FIRST_SEED, TABLE, Skill
from sim.teachers import Teachers
from sim.world import World

FAMILIES = ("stack", "container", "sort", "zone")
CURRICULUM = Curriculum(FAMILIES)
SEEDS = range(200_000_000, 200_000_016)


@pytest.fixture(scope="module")
def teacher() -> Iterator[Teacher]:
    with Teacher(CURRICULUM) as one:
        yield one


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as one:
        yield one


@pytest.fixture(scope="module")
def situations(teacher: Teacher) -> list[Situation]:
    return [teacher.draw(seed, whole=False) for seed in SEEDS]


def say(*subgoals: str, ended: bool = False) -> Answer:
    return Answer(tuple(Step(index, subgoal) for index, subgoal in enumerate(subgoals)), ended)


def marks(names: tuple[str, ...], value: float) -> dict[str, float]:
    return dict.fromkeys(names, value)


def test_the_oracles_next_subgoal_is_worth_everything(
    teacher: Teacher, world: World, situations: list[Situation]
) -> None:
    for situation in situations[::2]:
        with Trail(world, situation.scene) as trail:
            trail.go(situation.skills)
            skill = next_skill(trail.scene.goal, world.state())
            right = say(ended=True) if skill is None else say(language.word_skill(skill, trail.scene, 1))
        assert teacher.judge(situation, [right]) == [marks(FIRST_REWARDS, 1.0)], situation.scene


def test_nonsense_is_worth_nothing(teacher: Teacher, situations: list[Situation]) -> None:
    answers = [say("dance a little"), say("pick up the moon"), Answer((), False, "no plan"), say()]
    for situation in situations[::2]:
        assert teacher.judge(situation, answers) == [marks(FIRST_REWARDS, 0.0)] * len(answers)


def test_words_of_the_past_are_of_its_skills(situations: list[Situation], world: World) -> None:
    ways = set()
    for situation in situations:
        scene = world.reset(situation.scene.family, situation.scene.seed, situation.scene.robot)
        assert tuple(language.parse_skill(words, scene) for words in situation.done) == situation.skills
        ways |= {words.split()[0] for words in situation.done}
    assert len(ways) > 2


def test_situations_are_of_many_kinds(situations: list[Situation], world: World) -> None:
    assert {situation.scene.family for situation in situations} == set(FAMILIES)
    assert len({len(situation.skills) for situation in situations}) > 3
    left = []
    for situation in situations:
        with Trail(world, situation.scene) as trail:
            left.append(steps_left(trail, situation.skills))
            assert np.array_equal(trail.at(situation.skills).picture, situation.picture)
    # some are done; in some the hand has to be emptied first
    assert 0.0 in left
    assert max(left) > 3


def test_a_possible_step_that_leads_away_has_only_its_words(world: World) -> None:
    with Trail(world, SceneName("stack", SEEDS[0])) as trail:
        needed = trail.needed()
        held = needed[:1]
        assert steps_left(trail, ()) == len(needed)
        assert steps_left(trail, held) == len(needed) - 1
        back = Skill("place", needed[0].object, TABLE)
        verdict = judge_first(trail, held, say(language.word_skill(back, trail.scene, 0)))
        assert verdict == {"words": 1.0, "success": 0.0}
        # the same words where nothing is held are no possible step
        assert judge_first(trail, (), say(language.word_skill(back, trail.scene, 0)))["words"] == 0.0


def test_to_end_is_right_when_the_task_is_done_and_only_then(world: World) -> None:
    with Trail(world, SceneName("zone", SEEDS[3])) as trail:
        needed = trail.needed()
        stop, go_on = say(ended=True), say(language.word_skill(needed[0], trail.scene, 0))
        assert judge_first(trail, needed, stop) == marks(FIRST_REWARDS, 1.0)
        assert judge_first(trail, needed[:-1], stop) == marks(FIRST_REWARDS, 0.0)
        # what was cut off has not ended
        assert judge_first(trail, needed, say()) == marks(FIRST_REWARDS, 0.0)
        # it can be picked again, which undoes the task
        assert judge_first(trail, needed, go_on) == {"words": 1.0, "success": 0.0}


def test_steps_ahead_are_counted_without_moving_the_world(world: World) -> None:
    with Trail(world, SceneName("sort", SEEDS[2])) as trail:
        before = trail.at(()).picture
        assert steps_left(trail, ()) == len(trail.needed())
        trail.go(())
        assert np.array_equal(world.picture(), before)


def test_the_oracles_plan_is_worth_everything_and_less_without_each_part(
    teacher: Teacher, world: World
) -> None:
    situation = teacher.draw(SEEDS[3], whole=True)
    assert situation.skills == ()
    steps = oracle_steps(world, situation.scene)
    frozen = Keyframe(situation.picture, VIEWS)
    copied = tuple(replace(step, keyframe=frozen) for step in steps)
    grey = tuple(replace(step, keyframe=Keyframe(np.full_like(frozen.rgb, 90), VIEWS)) for step in steps)
    mute = tuple(replace(step, subgoal="dance") for step in steps)
    full, short, still, blank, mumbled, broken, nonsense = teacher.judge(
        situation,
        [
            Answer(steps, True),
            Answer(steps[:-1], True),
            Answer(copied, True),
            Answer(grey, True),
            Answer(mute, True),
            Answer(steps, True, "no plan"),
            say("dance", "dance again", ended=True),
        ],
    )
    assert tuple(full) == PLAN_REWARDS
    assert full == pytest.approx(marks(PLAN_REWARDS, 1.0), abs=1e-3)
    assert short["success"] == 0.0
    assert short["words"] == pytest.approx(1 - 1 / len(steps))
    # a copy of the first picture: good words, nothing imagined
    assert (still["words"], still["success"], still["agreement"]) == (1.0, 1.0, 0.0)
    assert still["picture"] < 0.5
    assert (blank["agreement"], blank["success"]) == (0.0, 1.0)
    assert blank["physics"] < 0.3
    # its first keyframe is still a possible picture
    assert mumbled == pytest.approx(marks(PLAN_REWARDS, 0.0) | {"physics": 1 / len(steps)}, abs=1e-3)
    assert broken == nonsense == marks(PLAN_REWARDS, 0.0)


def test_robots_that_may_not_do_a_family_are_refused() -> None:
    with pytest.raises(ValueError, match="mobile with push"):
        Curriculum(("stack", "push"), ("mobile",))


@pytest.mark.parametrize("seed", [BENCHMARK_FIRST_SEED, -1])
def test_seeds_of_the_benchmark_are_refused(teacher: Teacher, situations: list[Situation], seed: int) -> None:
    with pytest.raises(ValueError, match="not for training"):
        teacher.draw(seed, whole=False)
    held_out = replace(situations[0], scene=SceneName("stack", seed))
    with pytest.raises(ValueError, match="not for training"):
        teacher.judge(held_out, [say()])


def test_workers_draw_and_judge_as_this_process_does(teacher: Teacher, situations: list[Situation]) -> None:
    lots = [list(SEEDS[:3]), list(SEEDS[3:6])]
    with Teachers(CURRICULUM, workers=2) as teachers:
        drawn = [one for lot in teachers.situations(iter(lots), whole=False) for one in lot]
        answers = [say("pick up the red block"), say(ended=True)]
        judged = teachers.judge([(situation, answers) for situation in drawn])
    assert [(one.scene, one.skills, one.instruction) for one in drawn] == [
        (one.scene, one.skills, one.instruction) for one in situations[:6]
    ]
    for one, other in zip(drawn, situations, strict=False):
        assert np.array_equal(one.picture, other.picture)
    assert judged == [teacher.judge(situation, answers) for situation in drawn]
