"""A goal that watches its step: what is told, what ends a step, and what never does."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from emu_planner.goal.feed import CameraFeed
from emu_planner.goal.states import Decision, Ending, PlannedStep, Review, StaleEpochError, StepState
from emu_planner.plan import (
    Event,
    FinishReason,
    Frame,
    FrameSource,
    Keyframe,
    Observation,
    Outcome,
    PlanComplete,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Stop,
    Task,
    Verdict,
)
from tests.goal.work import LIMITS, Work

# far apart: no picture is from before the moment at which a step was started
STAMPS = itertools.count(100.0, 10.0)
WATCHED = replace(LIMITS, progress_period_s=0.02, drift_patience=3)
REPLANS = replace(WATCHED, replan_on_drift=True)


def table(*blocks: tuple[int, int]) -> np.ndarray:
    """A grey table [96, 96, 3] with red blocks of 8x8 at (row, column)."""
    picture = np.full((96, 96, 3), 120, np.uint8)
    for row, column in blocks:
        picture[row : row + 8, column : column + 8] = (200, 20, 20)
    return picture


START, END, ELSEWHERE = table((10, 10)), table((60, 60)), table((10, 10), (30, 80))
COVERED = np.kron(np.eye(2, dtype=np.uint8) * 200 + 20, np.ones((48, 48), np.uint8))[:, :, None].repeat(3, 2)


@dataclass
class Mover:
    """A Planner that imagines the red block at the other place, and remembers what it was shown."""

    shown: list[Observation] = field(default_factory=list)
    histories: list[tuple[StepOutcome, ...]] = field(default_factory=list)

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        observation = frames.newest()
        self.shown.append(observation)
        self.histories.append(tuple(history))
        yield PlanStarted(observation.seq, 0, observation.stamp_s)
        yield StepComplete(Step(len(history), "move it", Keyframe(END, ("cam",))))
        yield PlanComplete(FinishReason.LENGTH)


def show(work: Work, rgb: np.ndarray, condition: Callable[[], object]) -> None:
    """Pictures of it until the condition holds."""
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        work.feed.put(Frame(rgb, "cam", next(STAMPS)))
        time.sleep(0.005)


def started(work: Work, count: int = 1) -> PlannedStep:
    """The count-th step on offer, started, that is planned from START."""
    approved = lambda: sum(o.state is StepState.APPROVED for o in work.diary.offers) >= count  # noqa: E731
    show(work, START, approved)
    offered = work.diary.offer(count)
    work.report(offered, Outcome.STARTED)
    return offered


def said(work: Work, verdict: Verdict) -> int:
    return sum(look.verdict is verdict for look in work.diary.looks)


def begin(limits=WATCHED, **request) -> tuple[Work, Mover]:
    planner = Mover()
    return Work(planner, frames=False, limits=limits, **request), planner


def test_reached_is_told_and_ends_nothing():
    work, planner = begin(REPLANS)
    step = started(work)
    show(work, END, lambda: said(work, Verdict.REACHED) >= 5)
    assert work.goal.view().steps[0].state is StepState.ACTIVE
    assert len(planner.shown) == 1
    work.report(step, Outcome.SUCCEEDED)
    assert work.goal.view().steps[0].state is StepState.SUCCEEDED
    work.goal.end(Ending.CANCELED)


def test_drift_is_only_told_unless_it_may_be_planned_again():
    work, planner = begin()
    step = started(work)
    show(
        work,
        ELSEWHERE,
        lambda: work.diary.looks and work.diary.looks[-1].drifting > 2 * WATCHED.drift_patience,
    )
    assert work.goal.view().steps[0].state is StepState.ACTIVE
    work.report(step, Outcome.SUCCEEDED)
    assert len(planner.shown) == 1
    work.goal.end(Ending.CANCELED)


def test_drift_takes_the_step_back_and_plans_again_from_a_later_picture():
    work, planner = begin(REPLANS)
    first = started(work)
    show(work, ELSEWHERE, lambda: len(planner.shown) == 2)
    second = work.diary.offer(2)
    states = [(o.state, o.epoch) for o in work.diary.offers]
    (expired,) = [o for o in work.diary.offers if o.state is StepState.EXPIRED]
    assert [state for state, _ in states] == [
        StepState.APPROVED,
        StepState.ACTIVE,
        StepState.EXPIRED,
        StepState.APPROVED,
    ]
    assert first.epoch < expired.epoch < second.epoch
    assert expired.detail == "drifted: 3 looks in a row show what it does not foresee"
    assert work.diary.looks[-1].drifting == REPLANS.drift_patience
    with pytest.raises(StaleEpochError):
        work.report(first, Outcome.SUCCEEDED)
    assert planner.shown[1].stamp_s > work.diary.looks[-1].stamp_s, "what it drifted on is past"
    assert np.array_equal(planner.shown[1].frames[0].rgb, ELSEWHERE)
    assert planner.histories[1] == (), "nobody reported what became of it"
    # the new step foresees the block elsewhere: what it was planned from is its start
    work.report(second, Outcome.STARTED)
    looks = len(work.diary.looks)
    show(work, ELSEWHERE, lambda: len(work.diary.looks) > looks + 3)
    assert {look.verdict for look in work.diary.looks[looks:]} == {Verdict.UNKNOWN}
    work.goal.end(Ending.CANCELED)


def test_what_is_unknown_never_takes_a_step_back():
    work, planner = begin(replace(REPLANS, drift_patience=1))
    started(work)
    show(work, COVERED, lambda: len(work.diary.looks) >= 10)
    time.sleep(0.1)
    assert {look.verdict for look in work.diary.looks} == {Verdict.UNKNOWN}
    assert work.goal.view().steps[0].state is StepState.ACTIVE
    assert len(planner.shown) == 1
    work.goal.end(Ending.CANCELED)


def test_a_step_drifts_again_and_again_until_the_goal_gives_up():
    work, _ = begin(REPLANS)
    for count in range(1, LIMITS.max_failures + 1):
        started(work, count)
        gone = lambda count=count: (  # noqa: E731
            sum(o.state is StepState.EXPIRED for o in work.diary.offers) >= count
        )
        show(work, ELSEWHERE, gone)
    result = work.result()
    assert result.ending is Ending.OUTCOME_FAILED
    assert "drifted" in result.message


def test_nothing_is_looked_at_before_a_step_is_started_or_without_a_period():
    work, _ = begin()
    show(work, START, lambda: work.diary.offers)
    time.sleep(0.2)
    assert work.diary.looks == []
    work.goal.end(Ending.CANCELED)
    work, _ = begin(LIMITS)
    step = started(work)
    time.sleep(0.2)
    assert work.diary.looks == []
    work.report(step, Outcome.SUCCEEDED)
    work.goal.end(Ending.CANCELED)


def test_an_edited_step_is_not_judged_by_the_keyframe_of_other_words():
    work, _ = begin(replace(REPLANS, drift_patience=1), review=Review.EACH)
    show(work, START, lambda: work.diary.made)
    work.goal.review(work.diary.made[0].epoch, 0, Decision.EDIT, "leave it")
    work.report(work.diary.offer(1), Outcome.STARTED)
    show(work, ELSEWHERE, lambda: len(work.diary.looks) >= 5)
    assert {look.verdict for look in work.diary.looks} == {Verdict.UNKNOWN}
    assert "edited" in work.diary.looks[0].reason
    work.goal.end(Ending.CANCELED)


def test_nobody_waits_for_a_look(monkeypatch: pytest.MonkeyPatch):
    work, _ = begin()
    looking, release = threading.Event(), threading.Event()

    def hangs(cameras: tuple[str, ...]) -> Observation:
        looking.set()
        release.wait(30.0)
        return CameraFeed.glance(work.feed, cameras)

    monkeypatch.setattr(work.feed, "glance", hangs)
    step = started(work)
    show(work, END, looking.is_set)
    work.report(step, Outcome.SUCCEEDED)
    work.goal.end(Ending.CANCELED)
    assert work.diary.results[0].plan.steps[0].state is StepState.SUCCEEDED
    release.set()
    work.thread.join(20.0)
    assert not work.thread.is_alive()
    assert work.diary.looks == [], "a look that comes too late is not told"


def test_a_goal_that_may_plan_again_has_to_look():
    with pytest.raises(ValueError, match="progress_period 0"):
        replace(LIMITS, replan_on_drift=True)
