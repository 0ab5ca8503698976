"""The simulator as a teacher: situations to plan from, and how good a plan is there, in numbers.

    with Teacher(Curriculum(families=("stack", "sort"))) as teacher:
        situation = teacher.draw(200_000_000, whole=False)
        verdicts = teacher.judge(situation, answers)

A situation is named by a training seed and the skills that led there, so it can be made again anywhere.
Plans are judged by the benchmark's own judge and metrics, in the states that its trail remembers. Knows
no model and no training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.errors import PlanError
from emu_planner.plan.report import Report
from emu_planner.plan.step import Step
from sim import language, robots
from sim.bench.judge import StepScore, make_score, score_steps
from sim.bench.plans import Taken
from sim.bench.suite import SceneName
from sim.bench.trail import Skills, Trail
from sim.data import family_of, robot_of
from sim.episode import random_skill
from sim.oracle import MOST_STEPS, next_skill
from sim.scene import training_seed
from sim.tasks import FIRST, FIRST_COUNTS, generator, trained_robots
from sim.world import World

# What a verdict on a first subgoal says, and what one on a whole plan says
FIRST_REWARDS = ("words", "success")
PLAN_REWARDS = ("words", "success", "agreement", "physics", "picture")
# Which metrics of the benchmark are one reward, their mean
_WORDS = ("valid",)
_PHYSICS = ("configuration", "permanence", "background", "feasible")

Verdict = dict[str, float]


@dataclass(frozen=True, eq=False)
class Situation:
    """A state to plan from."""

    scene: SceneName
    # what was done before, and the subgoals that asked for it
    skills: Skills
    done: tuple[str, ...]
    # a whole plan is wanted, from the scene's start; else the next subgoal
    whole: bool
    instruction: str
    # what the cameras see, both views side by side, [192, 384, 3] uint8
    picture: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What was planned there."""

    steps: tuple[Step, ...]
    # it ended by itself: nothing is left to do after its steps
    ended: bool
    # why it is no plan; empty: it is one. One that is none gets nothing
    fault: str = ""


@dataclass(frozen=True)
class Curriculum:
    """Which situations are drawn."""

    # they take turns by seed; so do the robots
    families: tuple[str, ...] = FIRST
    robots: tuple[str, ...] = (robots.DEFAULT,)
    # share of next-subgoal situations where the task is done
    finished_share: float = 0.1
    # and of the others where, after some of the oracle's steps, something else was done
    detour_share: float = 0.3

    def __post_init__(self) -> None:
        for family in self.families:
            if not set(self.robots) & set(trained_robots(family)):
                raise ValueError(
                    f"{', '.join(self.robots)} with {family} is impossible or held out from training: leave "
                    f"it out, or take one of {list(trained_robots(family))}"
                )


class Teacher:
    """Draws situations and judges answers, in one world of its own.

    Args:
        curriculum: which situations.
    """

    def __init__(self, curriculum: Curriculum) -> None:
        self._curriculum = curriculum
        self._world = World()

    def __enter__(self) -> "Teacher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the world."""
        self._world.close()

    def draw(self, seed: int, *, whole: bool) -> Situation:
        """The situation of a training seed, the same everywhere. ValueError: not a seed for training."""
        own = self._curriculum
        family = family_of(training_seed(seed), own.families)
        scene = SceneName(family, seed, robot_of(seed, own.robots, own.families))
        with Trail(self._world, scene) as trail:
            skills = () if whole else self._course(trail)
            done = _worded(skills, trail)
            return Situation(scene, skills, done, whole, trail.scene.instruction, trail.at(skills).picture)

    def judge(self, situation: Situation, answers: Sequence[Answer]) -> list[Verdict]:
        """How good each answer is: FIRST_REWARDS or PLAN_REWARDS, each in [0, 1], 1 the best."""
        training_seed(situation.scene.seed)
        with Trail(self._world, situation.scene) as trail:
            if situation.whole:
                return [judge_plan(trail, answer) for answer in answers]
            return [judge_first(trail, situation.skills, answer) for answer in answers]

    def _course(self, trail: Trail) -> Skills:
        """Some of the oracle's steps, and perhaps another one; all reach their outcome."""
        scene, own = trail.scene, self._curriculum
        rng = generator(scene.family, scene.seed, "situation")
        needed = trail.needed()
        if rng.random() < own.finished_share:
            return needed
        skills = needed[: int(rng.integers(max(1, len(needed))))]
        if rng.random() < own.detour_share and scene.family not in FIRST_COUNTS:
            trail.go(skills)
            aside = (*skills, random_skill(self._world, rng))
            if trail.at(aside).ok:
                return aside
        return skills


def _worded(skills: Skills, trail: Trail) -> tuple[str, ...]:
    """Skills as subgoals, in any of the ways to say them."""
    rng = generator(trail.scene.family, trail.scene.seed, "words")
    return tuple(language.word_skill(skill, trail.scene, int(rng.integers(1000))) for skill in skills)


def judge_first(trail: Trail, done: Skills, answer: Answer) -> Verdict:
    """What the next subgoal is worth, carried out in the state after `done`.

    words: it is a skill that is possible there. success: it is carried out, and the oracle then needs
    fewer steps than before. To end the plan is right, and worth both, when nothing is left to do, and
    only then.
    """
    nothing = dict.fromkeys(FIRST_REWARDS, 0.0)
    before = steps_left(trail, done)
    if answer.fault:
        return nothing
    if not answer.steps:
        right = float(answer.ended and before == 0)
        return {"words": right, "success": right}
    skill = language.parse_skill(answer.steps[0].subgoal, trail.scene)
    if skill is None or skill not in trail.at(done).legal:
        return nothing
    after = (*done, skill)
    nearer = trail.at(after).ok and steps_left(trail, after) < before
    return {"words": 1.0, "success": float(nearer)}


def judge_plan(trail: Trail, answer: Answer) -> Verdict:
    """What a whole plan is worth, carried out open loop from the scene's start.

    Metrics of the benchmark (docs/metrics.md), whose denominator neither a short plan nor a padded one
    gains from. words: valid. success: every step valid and done, and the task with them. agreement:
    keyframes that show what the words say. physics: mean of configuration, permanence, background and
    feasible. picture: see closeness.

    Pictures are compared with what the cameras see: a tokenizer's blur costs all plans of a scene alike.
    """
    if answer.fault:
        return dict.fromkeys(PLAN_REWARDS, 0.0)
    taken = Taken(Report(trail.scene.instruction, answer.steps, "stop" if answer.ended else "length"))
    scores, skills = score_steps(trail, answer.steps, None)
    score = make_score(trail, "policy", taken, scores, skills)
    vector = {name: value or 0.0 for name, value in score.metrics.items()}
    return {
        "words": _mean(vector, _WORDS),
        "success": vector["success_open"],
        "agreement": vector["agreement"],
        "physics": _mean(vector, _PHYSICS),
        "picture": closeness(scores, score.denominator),
    }


def closeness(steps: Sequence[StepScore], count: int) -> float:
    """Mean of max(0, 1 - e / c) over `count` steps, in [0, 1].

    e: mean grey levels between keyframe and real next picture where something changes; c: the same for
    the picture before, so that copying it is worth 0. A step without a keyframe, or never reached, is too.
    """
    found = 0.0
    for step in steps:
        if step.keyframe_error is not None and step.copy_error:
            found += max(0.0, 1.0 - step.keyframe_error / step.copy_error)
    return found / count if count else 0.0


def steps_left(trail: Trail, skills: Skills) -> float:
    """How many steps the oracle needs from the state after these skills; infinite: it cannot.

    Steps ahead are imagined, not simulated: a thousandth of the time. Remembered in the trail.
    """
    key = ("steps left", skills)
    if key not in trail.memory:
        trail.go(skills)
        trail.memory[key] = _count_steps(trail)
        trail.go(skills)
    value = trail.memory[key]
    assert isinstance(value, float)
    return value


def _count_steps(trail: Trail) -> float:
    world = trail.world
    for count in range(MOST_STEPS + 1):
        try:
            skill = next_skill(world.goal, world.state())
        except PlanError:
            return math.inf
        if skill is None:
            return float(count)
        if skill not in world.legal_skills():
            return math.inf
        world.imagine(skill)
    return math.inf


def _mean(vector: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(vector[name] for name in names) / len(names)
