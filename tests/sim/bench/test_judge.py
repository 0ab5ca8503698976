"""The judge gives full marks to the oracle, none for nothing, and a failing planner loses its scene only."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from emu_planner.plan import ErrorCode, FinishReason, PlanError
from sim import language
from sim.bench import metrics
from sim.bench.controls import Edited, Remember, grey, show_given, with_keyframe
from sim.bench.judge import changed_error, judge
from sim.bench.suite import SceneName
from sim.bench.trail import Trail
from sim.oracle import OraclePlanner
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World
from tests.sim.bench.scripted import Says

SCENES = [SceneName(family, BENCHMARK_FIRST_SEED + 3) for family in ("stack", "zone")]


@pytest.fixture(scope="module")
def oracle(world: World) -> Iterator[OraclePlanner]:
    planner = OraclePlanner(world)
    yield planner
    planner.close()


@pytest.fixture(scope="module")
def oracle_here(trail: Trail, oracle: OraclePlanner) -> Remember:
    return Remember(oracle)


def first_words(trail: Trail) -> str:
    return language.word_skill(trail.needed()[0], trail.scene)


@pytest.mark.parametrize("name", SCENES, ids=str)
def test_the_oracle_gets_full_marks(oracle: OraclePlanner, name: SceneName) -> None:
    # a world of its own: the module's trail holds the other one
    with World() as world, Trail(world, name) as trail:
        own = OraclePlanner(world)
        score, steps = judge(trail, own, "oracle")
        own.close()
        assert score.reason == FinishReason.STOP.value
        assert score.plan_valid
        assert len(steps) == score.denominator == len(trail.needed())
    exact = {k: v for k, v in score.metrics.items() if k not in ("background", "feasible")}
    assert set(exact.values()) == {1.0}
    assert score.score is not None
    assert score.score > 0.98
    assert score.why == ()
    assert score.closed_loop_subgoals == tuple(step.subgoal for step in score.steps)
    for step in score.steps:
        assert step.keyframe_possible
        assert step.keyframe_error is not None
        assert step.copy_error is not None
        assert step.keyframe_error < step.copy_error / 10


def test_a_row_is_json_without_infinities(trail: Trail, oracle_here: Remember) -> None:
    score, _ = judge(trail, Edited(oracle_here, with_keyframe(grey)), "grey")
    row = json.loads(json.dumps(score.row(), allow_nan=False))
    assert row["scene"] == str(trail.name)
    assert list(row["metrics"]) == list(metrics.VECTOR)
    assert score.steps[0].facts.settle_m is None or math.isinf(score.steps[0].facts.settle_m)
    assert row["steps"][0]["facts"]["settle_m"] is None


def test_copying_agrees_with_nothing(trail: Trail, oracle_here: Remember) -> None:
    score, _ = judge(trail, Edited(oracle_here, with_keyframe(show_given)), "copy")
    assert score.metrics["success_open"] == 1.0
    first, *later = score.steps
    assert first.keyframe_error is not None
    assert first.keyframe_error == first.copy_error
    assert not any(step.facts.agrees or step.keyframe_possible for step in score.steps)
    # later steps still show the first picture: what copying the picture before them would score differs
    assert any(step.keyframe_error != step.copy_error for step in later)
    assert score.metrics["agreement"] == 0.0
    assert score.score == 0.0


def test_judging_gives_the_same_whatever_was_judged_before(trail: Trail, oracle_here: Remember) -> None:
    again, _ = judge(trail, oracle_here, "oracle")
    with World() as world, Trail(world, trail.name) as fresh:
        own = OraclePlanner(world)
        judge(fresh, Says(("pick up the moon",)), "moon")
        alone, _ = judge(fresh, own, "oracle")
        own.close()
    assert again.row() == alone.row()


@pytest.mark.parametrize("words", ["pick up the moon", "qwertz"])
def test_words_that_are_no_possible_skill_end_a_plan(trail: Trail, words: str) -> None:
    good = first_words(trail)
    score, _ = judge(trail, Says((good, words, good)), "says")
    assert [(s.facts.valid, s.facts.done) for s in score.steps] == [(True, True), (False, False)]
    assert not score.plan_valid
    assert score.denominator == 3
    assert score.metrics["valid"] == pytest.approx(1 / 3)
    assert score.metrics["success_open"] == 0.0
    assert any("no skill" in line for line in score.why)


def test_a_skill_that_is_not_possible_now_ends_a_plan(trail: Trail) -> None:
    pick = first_words(trail)
    score, _ = judge(trail, Says((pick, pick)), "says")
    # the hand is full: the same sentence is no longer possible
    assert [step.facts.valid for step in score.steps] == [True, False]


def test_a_planner_that_gives_up_keeps_the_steps_before(trail: Trail) -> None:
    error = PlanError(ErrorCode.INVALID_OUTPUT, "no more words")
    late, _ = judge(trail, Says((first_words(trail),), error), "fails late")
    assert late.reason == ErrorCode.INVALID_OUTPUT.value
    assert late.faults == ()
    assert late.metrics["valid"] == 0.5
    assert late.metrics["success_open"] == 0.0
    early, _ = judge(trail, Says((), error), "fails")
    assert early.steps == ()
    assert set(early.metrics.values()) == {0.0}
    assert not early.plan_valid


def test_a_broken_contract_voids_the_scene(trail: Trail) -> None:
    # it raises only when asked for one step at a time
    class Two(Says):
        def plan(self, task, frames, history=(), *, stop=None):  # type: ignore[no-untyped-def]
            if task.generation.max_subgoals == 1:
                raise ZeroDivisionError("in the closed loop")
            yield from super().plan(task, frames, history, stop=stop)

    score, _ = judge(trail, Two((first_words(trail),)), "breaks")
    assert score.steps[0].facts.valid
    assert set(score.metrics.values()) == {0.0}
    assert score.score == 0.0
    assert score.faults == ("closed loop, raised: ZeroDivisionError: in the closed loop",)


def test_a_closed_loop_gives_up_after_failures_in_a_row(trail: Trail) -> None:
    score, _ = judge(trail, Says(("qwertz",) * 12), "says")
    assert score.closed_loop_subgoals == ("qwertz",) * 3
    assert score.metrics["success_closed"] == 0.0
    assert score.faults == ()


def test_errors_count_in_the_changed_region_only() -> None:
    before = np.zeros((4, 4, 3), np.uint8)
    after = before.copy()
    after[0, :2] = 100
    imagined = after.copy()
    imagined[3] = 255
    assert changed_error(before, after, imagined) == 0.0
    imagined[0, 0] = 70
    assert changed_error(before, after, imagined) == 15.0
    assert changed_error(before, after, before) == 100.0
    assert changed_error(before, before, imagined) is None


def test_a_score_says_why(trail: Trail, oracle_here: Remember) -> None:
    _, steps = judge(trail, oracle_here, "oracle")
    assert steps[0].keyframe is not None
    gone = replace(steps[0].keyframe, rgb=steps[0].keyframe.rgb[:, ::-1].copy())
    mirrored = Edited(oracle_here, lambda step, _: replace(step, keyframe=step.keyframe and gone))
    score, _ = judge(trail, mirrored, "mirrored")
    assert any("objects not there once" in line or "the picture shows" in line for line in score.why)
