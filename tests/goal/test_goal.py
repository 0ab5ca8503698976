"""The logic of one goal and the cameras' feed, without any ROS graph."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from emu_planner.goal.feed import CameraFeed, FreshFrames, Moment
from emu_planner.goal.states import (
    Decision,
    Ending,
    Phase,
    Review,
    StaleEpochError,
    StepState,
    WrongStateError,
)
from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    Generation,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    Stop,
    Task,
)
from tests.fakes import FakePlanner
from tests.goal.work import LIMITS, Work, picture


def test_open_loop_takes_all_steps_of_one_plan():
    work = Work(closed_loop=False)
    result = work.result()
    assert (result.ending, result.plan.finish) == (Ending.COMPLETE, "stop")
    assert [made.step.index for made in result.plan.steps] == [0, 1, 2]
    assert work.diary.offers == [], "nothing waits for outcomes, so nothing is on offer"


def test_history_and_pictures_go_into_the_next_plan():
    seen = []

    class Recorder:
        def plan(self, task, frames, history=(), *, stop=None) -> Iterator[Event]:
            seen.append((task, frames.newest(), tuple(history)))
            return FakePlanner().plan(task, frames, history, stop=stop)

    work = Work(Recorder(), task=Task("do it", Generation(max_subgoals=2)))
    first = work.diary.offer(1)
    work.report(first, Outcome.STARTED)
    work.report(first, Outcome.FAILED, "slipped")
    work.feed.put(picture(stamp_s=1.0))
    work.diary.wait(lambda: [f.phase for f in work.diary.feedback].count(Phase.CONNECTING) == 2)
    time.sleep(0.1)
    assert len(seen) == 1, "a picture from before the outcome does not count"
    work.feed.put(picture(stamp_s=900.0))
    second = work.diary.offer(2)
    task, observation, history = seen[1]
    assert task.generation.max_subgoals == 1
    assert observation.stamp_s == 900.0
    assert [(past.step, past.outcome, past.detail) for past in history] == [
        (first.step, Outcome.FAILED, "slipped")
    ]
    assert (second.step.index, second.epoch > first.epoch) == (1, True)
    work.report(second, Outcome.SUCCEEDED)
    assert work.result().plan.finish == "length"


def test_failures_in_a_row_end_it_but_a_success_between_forgives():
    work = Work()
    outcomes = [Outcome.FAILED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.FAILED]
    for count, outcome in enumerate(outcomes, start=1):
        work.report(work.diary.offer(count), outcome)
        work.feed.put(picture(stamp_s=1000.0 * count))
    result = work.result()
    assert result.ending is Ending.OUTCOME_FAILED
    assert len(result.plan.steps) == 4


def test_an_edited_step_is_what_the_history_tells():
    work = Work(review=Review.FIRST)
    work.diary.phase(Phase.WAITING_REVIEW)
    made = work.diary.made[0]
    with pytest.raises(StaleEpochError):
        work.goal.review(made.epoch + 1, 0, Decision.APPROVE)
    with pytest.raises(ValueError, match="new words"):
        work.goal.review(made.epoch, 0, Decision.EDIT, "  ")
    work.goal.review(made.epoch, 0, Decision.EDIT, "my words")
    offered = work.diary.offer(1)
    assert (offered.step.subgoal, offered.original) == ("my words", made.step.subgoal)
    with pytest.raises(WrongStateError):
        work.goal.review(offered.epoch, 0, Decision.APPROVE)
    work.report(offered, Outcome.SUCCEEDED)
    work.feed.put(picture(stamp_s=1000.0))
    work.diary.offer(2)
    assert work.goal._history[0].step.subgoal == "my words"


def test_a_step_made_again_is_another_with_a_later_epoch():
    work = Work(review=Review.EACH)
    work.diary.wait(lambda: work.diary.made)
    first = work.diary.made[0]
    work.goal.review(first.epoch, 0, Decision.REGENERATE)
    work.diary.wait(lambda: len(work.diary.made) == 2)
    second = work.diary.made[1]
    assert second.step.index == 0
    assert second.epoch > first.epoch
    assert second.step.subgoal != first.step.subgoal, "the fake says something else for another seed"
    with pytest.raises(StaleEpochError):
        work.goal.review(first.epoch, 0, Decision.APPROVE)
    work.goal.review(second.epoch, 0, Decision.APPROVE)
    assert work.diary.offer(1).step == second.step
    work.goal.end(Ending.CANCELED)


@pytest.mark.parametrize(("closed_loop", "hint"), [(False, ""), (True, "use the other hand")])
def test_what_cannot_be_made_again_waits_on(closed_loop: bool, hint: str):
    work = Work(review=Review.EACH, closed_loop=closed_loop)
    work.diary.phase(Phase.WAITING_REVIEW)
    made = work.diary.made[0]
    with pytest.raises(ValueError, match="REGENERATE"):
        work.goal.review(made.epoch, 0, Decision.REGENERATE, hint)
    assert work.goal.view().steps[0].state is StepState.PENDING_REVIEW
    work.goal.end(Ending.CANCELED)


def test_a_review_that_never_comes():
    work = Work(review=Review.EACH, limits=replace(LIMITS, review_timeout_s=0.05))
    assert work.result().ending is Ending.REVIEW_TIMEOUT


def test_a_step_that_nobody_starts_expires():
    work = Work(limits=replace(LIMITS, subgoal_validity_s=0.05))
    assert work.result().ending is Ending.OUTCOME_FAILED
    states = [offer.state for offer in work.diary.offers]
    assert states == [StepState.APPROVED, StepState.EXPIRED] * 2
    epochs = [offer.epoch for offer in work.diary.offers]
    assert epochs == sorted(set(epochs))


def test_a_started_step_does_not_expire():
    work = Work(limits=replace(LIMITS, subgoal_validity_s=0.5))
    offered = work.diary.offer(1)
    work.report(offered, Outcome.STARTED)
    time.sleep(0.7)
    work.report(offered, Outcome.SUCCEEDED)
    assert work.diary.offers[-1].state is StepState.SUCCEEDED


@pytest.mark.parametrize("phase", [Phase.GENERATING_TEXT, Phase.WAITING_REVIEW, Phase.WAITING_OUTCOME])
def test_the_result_is_there_when_end_returns_whatever_it_waited_for(phase: Phase):
    review = Review.EACH if phase is Phase.WAITING_REVIEW else Review.NONE
    delay_s = 0.05 if phase is Phase.GENERATING_TEXT else 0.0
    work = Work(FakePlanner(token_delay_s=delay_s), review=review)
    work.diary.phase(phase)
    work.goal.end(Ending.CANCELED)
    assert work.diary.results[0].plan.ending is Ending.CANCELED
    told = len(work.diary.feedback)
    work.thread.join(20.0)
    assert not work.thread.is_alive()
    assert len(work.diary.feedback) == told, "after the result nothing follows"
    work.goal.end(Ending.FAILED)
    assert len(work.diary.results) == 1, "the first result stands"


def test_a_planner_that_hangs_does_not_delay_the_result():
    release = threading.Event()

    class Hangs:
        def plan(self, task, frames, history=(), *, stop=None) -> Iterator[Event]:
            release.wait(30.0)
            yield PlanComplete(FinishReason.INTERRUPTED)

    work = Work(Hangs(), time_limit_s=0.1)
    result = work.result()
    assert (result.ending, result.error) == (Ending.FAILED, ErrorCode.TIMEOUT)
    release.set()
    work.thread.join(20.0)
    assert not work.thread.is_alive()


def test_no_picture_is_an_error_with_words():
    class Short:
        def plan(self, task, frames, history=(), *, stop=None) -> Iterator[Event]:
            yield from FakePlanner(frame_timeout_s=0.0).plan(task, frames, history, stop=stop)

    work = Work(Short(), frames=False, limits=replace(LIMITS, observation_timeout_s=0.05))
    result = work.result()
    assert result.error is ErrorCode.STALE_OBSERVATION
    assert "cam" in result.message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_the_planner_ends_the_goal():
    class Broken:
        def plan(self, task, frames, history=(), *, stop=None) -> Iterator[Event]:
            raise ZeroDivisionError("oh")

    work = Work(Broken())
    result = work.result()
    work.thread.join(20.0)
    assert (result.error, "oh" in result.message) == (ErrorCode.INTERNAL, True)


@pytest.mark.parametrize(
    ("finish", "code"),
    [
        (FinishReason.TIMEOUT, ErrorCode.TIMEOUT),
        (FinishReason.INTERRUPTED, ErrorCode.SERVER_UNAVAILABLE),
    ],
)
def test_a_plan_that_ends_unasked_is_a_failure(finish: FinishReason, code: ErrorCode):
    class Ends:
        def plan(self, task, frames, history=(), *, stop=None) -> Iterator[Event]:
            yield PlanStarted(0, 0)
            yield PlanComplete(finish)

    result = Work(Ends()).result()
    assert (result.error, result.plan.finish) == (code, finish.value)


def test_the_feed_keeps_the_newest_of_each_camera():
    feed = CameraFeed(("a", "b"))
    for number in range(5):
        feed.put(picture("a", 10.0 + number))
    feed.put(picture("b", 3.0))
    assert [frame.stamp_s for frame in feed.take(("b", "a")).frames] == [3.0, 14.0]
    counts = feed.counts()
    assert (counts.received, counts.sent, counts.superseded) == (6, 2, 4)
    feed.clear()
    with pytest.raises(PlanError):
        feed.take(("a",))


def test_fresh_frames_wait_for_every_camera():
    feed, stop = CameraFeed(("a", "b")), Stop()
    frames = FreshFrames(feed, ("a", "b"), 60.0, {"a": Moment(0, 5.0), "b": Moment(0, 5.0)}, stop)
    feed.put(picture("a", 6.0))
    feed.put(picture("b", 5.0))
    with pytest.raises(PlanError, match=r"\['b'\]"):
        frames.newest(0.05)
    feed.put(picture("b", 5.1))
    assert frames.newest().stamp_s == 5.1


def test_fresh_frames_refuse_a_camera_that_died():
    feed = CameraFeed(("a",))
    feed.put(picture("a"))
    time.sleep(0.05)
    with pytest.raises(PlanError, match="no fresh picture"):
        FreshFrames(feed, ("a",), 0.01, {}, Stop()).newest(0.0)


def test_a_stop_ends_the_wait_for_a_picture():
    stop = Stop()
    threading.Timer(0.05, stop.request).start()
    with pytest.raises(PlanError):
        FreshFrames(CameraFeed(("a",)), ("a",), 60.0, {}, stop).newest(3600.0)


def test_the_moment_is_on_each_cameras_own_clock():
    feed = CameraFeed(("a", "b"))
    feed.put(picture("a", 5.0))
    feed.put(picture("b", 1e9))
    time.sleep(0.02)
    moment = feed.moment()
    assert 5.02 <= moment["a"].stamp_s < 7.0
    assert 1e9 + 0.02 <= moment["b"].stamp_s < 1e9 + 2.0


def test_the_moment_of_a_slow_simulation_is_not_ahead_of_its_pictures():
    feed = CameraFeed(("a",))
    for step in range(8):
        feed.put(picture("a", 5.0 + 0.001 * step))
        time.sleep(0.1)
    assert feed.moment()["a"].stamp_s < 5.01


def test_a_clock_that_was_set_back_is_later():
    feed = CameraFeed(("a",))
    feed.put(picture("a", 1000.0))
    after = feed.moment()
    frames = FreshFrames(feed, ("a",), 60.0, after, Stop())
    with pytest.raises(PlanError):
        frames.newest(0.0)
    # a simulation began anew
    feed.put(picture("a", 0.1))
    assert frames.newest().stamp_s == 0.1
    assert feed.states()[0].clock_jumps == 1
