"""The benchmark gives full marks to the oracle, none for nothing, and survives cuts and failures."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    FrameSource,
    Keyframe,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
)
from sim import benchmark, language
from sim.baselines import CopyLastFrame, TextOnly
from sim.benchmark import (
    Job,
    SceneName,
    changed_error,
    read_rows,
    read_suite,
    row,
    run,
    score_ceiling,
    score_scene,
)
from sim.oracle import OraclePlanner, next_skill
from sim.scene import BENCHMARK_FIRST_SEED
from sim.tasks import FIRST
from sim.world import World

SCENES = [SceneName(family, BENCHMARK_FIRST_SEED + 3) for family in FIRST]
STACK = SCENES[0]


@dataclass(frozen=True)
class Says:
    """A planner of fixed words, with grey keyframes; at the end it stops or fails."""

    words: tuple[str, ...]
    error: PlanError | None = None

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        shown = frames.newest()
        yield PlanStarted(shown.seq, 0, shown.stamp_s)
        left = self.words[len(history) :]
        most = task.generation.max_subgoals or len(left)
        grey = Keyframe(np.full((192, 384, 3), 128, np.uint8), ("front", "side"))
        for index, words in enumerate(left[:most], start=len(history)):
            yield StepComplete(Step(index, words, grey if task.generation.keyframes else None))
        if self.error is not None and most >= len(left):
            raise self.error
        yield PlanComplete(FinishReason.STOP)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def oracle(world: World) -> Iterator[OraclePlanner]:
    planner = OraclePlanner(world)
    yield planner
    planner.close()


def first_words(world: World, scene: SceneName) -> str:
    world.reset(scene.family, scene.seed)
    skill = next_skill(world.scene.goal, world.state())
    assert skill is not None
    return language.word_skill(skill, world.scene, 0)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_the_oracle_gets_full_marks(world: World, oracle: OraclePlanner, scene: SceneName) -> None:
    score = score_scene(world, oracle, "oracle", scene)
    assert score.reason == FinishReason.STOP.value
    assert score.plan_valid
    assert score.open_loop_success
    assert score.closed_loop_success
    assert score.closed_loop_subgoals == tuple(step.subgoal for step in score.steps)
    for step in score.steps:
        assert step.valid
        assert step.done
        assert step.keyframe_agrees
        assert step.keyframe_possible
        assert step.keyframe_error is not None
        assert step.copy_error is not None
        assert step.keyframe_error < step.copy_error / 10
    assert json.loads(json.dumps(row(score)))["scene"] == str(scene)


def test_copying_scores_what_copying_scores(world: World, oracle: OraclePlanner) -> None:
    score = score_scene(world, CopyLastFrame(oracle), "copy", STACK)
    assert score.open_loop_success
    first, *later = score.steps
    assert first.keyframe_error is not None
    assert first.keyframe_error == first.copy_error
    # the picture shown can be, but no skill leads to it
    assert not first.keyframe_agrees
    assert not first.keyframe_possible
    # later steps still show the first picture: what copying the picture before them would score differs
    assert any(step.keyframe_error != step.copy_error for step in later)


def test_words_alone_look_one_step_ahead(world: World, oracle: OraclePlanner) -> None:
    score = score_scene(world, TextOnly(oracle), "text", STACK)
    assert [step.valid for step in score.steps] == [True]
    assert score.plan_valid
    assert not score.open_loop_success
    assert score.closed_loop_success


@pytest.mark.parametrize("words", ["pick up the moon", "qwertz", ""])
def test_words_that_are_no_possible_skill_end_a_plan(world: World, words: str) -> None:
    good = first_words(world, STACK)
    score = score_scene(world, Says((good, words, good)), "says", STACK)
    assert [(step.valid, step.done) for step in score.steps] == [(True, True), (False, False)]
    assert score.steps[1].keyframe_error is None
    assert not score.plan_valid
    assert not score.open_loop_success


def test_a_skill_that_is_not_possible_now_ends_a_plan(world: World) -> None:
    pick = first_words(world, STACK)
    score = score_scene(world, Says((pick, pick)), "says", STACK)
    # the hand is full: the same sentence is no longer possible
    assert [step.valid for step in score.steps] == [True, False]
    assert not score.plan_valid


def test_a_planner_that_fails_loses_its_scene_only(world: World) -> None:
    error = PlanError(ErrorCode.INVALID_OUTPUT, "no more words")
    score = score_scene(world, Says((), error), "fails", STACK)
    assert score.reason == ErrorCode.INVALID_OUTPUT.value
    assert score.steps == ()
    assert score.closed_loop_subgoals == ()
    assert not (score.plan_valid)
    assert not (score.open_loop_success)
    assert not (score.closed_loop_success)
    late = score_scene(world, Says((first_words(world, STACK),), error), "fails late", STACK)
    assert late.reason == ErrorCode.INVALID_OUTPUT.value
    assert [step.valid for step in late.steps] == [True]
    assert not late.open_loop_success


def test_a_closed_loop_gives_up_after_failures_in_a_row(world: World) -> None:
    score = score_scene(world, Says(("qwertz",) * 12), "says", STACK)
    assert score.closed_loop_subgoals == ("qwertz",) * 3
    assert not score.closed_loop_success


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


def test_the_ceiling_is_full_without_loss_and_falls_with_it(world: World) -> None:
    perfect = list(score_ceiling(world, lambda picture: picture, STACK))
    assert len(perfect) >= 2
    assert all(score.right and score.right_without for score in perfect)
    grey = list(score_ceiling(world, partial(np.full_like, fill_value=128), STACK))
    assert len(grey) == len(perfect)
    assert all(score.right_without and score.psnr_db < 20 for score in grey)
    assert not all(score.right for score in grey)


def test_the_quick_suite_is_held_out_and_covers_the_families() -> None:
    scenes = read_suite("quick")
    assert len(scenes) == len(set(scenes)) == 100
    assert all(scene.seed >= BENCHMARK_FIRST_SEED for scene in scenes)
    families = [scene.family for scene in scenes]
    assert {name: families.count(name) for name in FIRST} == dict.fromkeys(FIRST, 25)


def test_a_suite_of_training_seeds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"scenes": [{"family": "stack", "seed": BENCHMARK_FIRST_SEED - 1}]}))
    with pytest.raises(ValueError, match="training seed"):
        read_suite(str(path))
    with pytest.raises(ValueError, match="quick"):
        read_suite("nothing")


# ---- runs in worker processes


def start_counting(log: Path) -> Callable[[Job], list[dict]]:
    def work(job: Job) -> list[dict]:
        with log.open("a") as file:
            file.write(f"{job[0]} {job[1]}\n")
        return [{"planner": job[0], "scene": str(job[1])}]

    return work


def start_failing() -> Callable[[Job], list[dict]]:
    raise ValueError("no such checkpoint")


def test_a_run_goes_on_after_a_cut(tmp_path: Path) -> None:
    jobs: list[Job] = [(name, scene) for scene in SCENES[:2] for name in ("a", "b")]
    rows_file, log = tmp_path / "out" / "rows.jsonl", tmp_path / "log"
    start = partial(start_counting, log)
    assert list(run(jobs[:2], start, rows_file, workers=1)) == [(0, 2), (1, 2), (2, 2)]
    # cut while the third job's line was written
    with rows_file.open("a") as file:
        file.write('{"job": "a ')
    assert len(read_rows(rows_file)) == 2
    log.unlink()
    assert list(run(jobs, start, rows_file, workers=2)) == [(2, 4), (3, 4), (4, 4)]
    assert sorted(log.read_text().split("\n")[:-1]) == sorted(f"{name} {scene}" for name, scene in jobs[2:])
    rows = read_rows(rows_file)
    assert sorted(r["job"] for r in rows) == sorted(f"{name} {scene}" for name, scene in jobs)
    assert all(len(r["rows"]) == 1 for r in rows)


def test_a_worker_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(benchmark.WorkerError, match="worker"):
        list(run([("a", STACK)], start_failing, tmp_path / "rows.jsonl", workers=1))
