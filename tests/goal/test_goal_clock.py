"""A node's clock that stands still, is slow or jumps, as in a simulation, while a goal is in work."""

import time
from dataclasses import replace

import pytest

from emu_planner.goal.clock import ClockWatch
from emu_planner.goal.states import Decision, Phase, Review, StepState
from emu_planner.plan import Outcome
from tests.fakes import FakePlanner
from tests.goal.work import LIMITS, Work, picture


class HandClock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("went_s", "took_s", "jump_s"),
    [
        (1.0, 1.0, 0.0),
        (0.0, 60.0, 0.0),  # a simulation that stands still
        (0.2, 60.0, 0.0),  # or is slow
        (-0.4, 1.0, 0.0),  # a wobble
        (-0.6, 1.0, -0.6),
        (-3600.0, 0.1, -3600.0),
        (60.0, 0.1, 60.0),
    ],
)
def test_what_is_a_jump(went_s: float, took_s: float, jump_s: float):
    clock, passed = HandClock(1000.0), HandClock(5.0)
    watch = ClockWatch(clock, passed)
    clock.now_s += went_s
    passed.now_s += took_s
    assert watch.jump_s() == pytest.approx(jump_s)
    assert watch.jump_s() == 0.0


def test_wobbles_add_up_to_a_jump():
    clock, passed = HandClock(1000.0), HandClock(5.0)
    watch = ClockWatch(clock, passed)
    clock.now_s -= 0.4
    assert watch.jump_s() == 0.0
    clock.now_s -= 0.4
    assert watch.jump_s() == pytest.approx(-0.8)


def test_a_step_does_not_expire_while_the_clock_stands_still():
    clock = HandClock(1000.0)
    work = Work(now_s=clock, limits=replace(LIMITS, subgoal_validity_s=0.1))
    offered = work.diary.offer(1)
    assert offered.valid_until_s == pytest.approx(1000.1)
    time.sleep(0.3)
    assert [offer.state for offer in work.diary.offers] == [StepState.APPROVED]
    clock.now_s += 0.2
    assert work.diary.offer(2).epoch > offered.epoch


def test_a_step_is_taken_back_when_the_clock_goes_back_and_planned_from_a_later_picture():
    clock = HandClock(1000.0)
    work = Work(now_s=clock)
    offered = work.diary.offer(1)
    clock.now_s = 3.0
    work.diary.wait(lambda: work.diary.offers[-1].state is StepState.EXPIRED)
    gone = work.diary.offers[-1]
    assert gone.epoch > offered.epoch
    assert gone.detail == "the clock went back by 997.0 s"
    # the picture that is there was taken before
    time.sleep(0.1)
    assert len(work.diary.made) == 1
    work.feed.put(picture(stamp_s=3.1))
    again = work.diary.offer(2)
    assert (again.stamp_s, again.valid_until_s) == (3.1, 63.0)
    # what is carried out already is its executor's to tell
    work.report(again, Outcome.STARTED)
    clock.now_s = 0.0
    time.sleep(0.1)
    work.report(again, Outcome.SUCCEEDED)
    assert work.diary.offers[-1].state is StepState.SUCCEEDED


def test_after_a_leap_forward_no_picture_from_before_is_fresh():
    clock = HandClock(1000.0)
    work = Work(now_s=clock)
    work.diary.offer(1)
    clock.now_s = 5000.0
    work.diary.wait(lambda: work.diary.offers[-1].state is StepState.EXPIRED)
    time.sleep(0.1)
    assert len(work.diary.made) == 1
    work.feed.put(picture(stamp_s=5000.1))
    assert work.diary.offer(2).stamp_s == 5000.1


def test_a_step_that_was_planned_before_the_clock_went_back_is_never_offered():
    clock = HandClock(1000.0)
    work = Work(FakePlanner(token_delay_s=0.01), now_s=clock, review=Review.EACH)
    work.diary.phase(Phase.WAITING_REVIEW)
    clock.now_s = 3.0
    (made,) = work.diary.made
    work.goal.review(made.epoch, made.step.index, Decision.APPROVE)
    work.diary.wait(lambda: work.diary.offers)
    assert [offer.state for offer in work.diary.offers] == [StepState.EXPIRED]
