"""A lost link is waited for, less and less often, and not for ever."""

import random

import pytest

from emu_planner.goal.patience import Patience
from emu_planner.plan import ErrorCode, PlanError

LOST = PlanError(ErrorCode.SERVER_UNAVAILABLE, "gone", retryable=True)


class Clock:
    def __init__(self, ends_at_s: float = float("inf")) -> None:
        self.now_s, self.ends_at_s = 0.0, ends_at_s
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds
        return self.now_s >= self.ends_at_s


def patience(seconds: float, clock: Clock) -> Patience:
    return Patience(seconds, clock.wait, clock_s=lambda: clock.now_s, rng=random.Random(0))


def test_it_ends_within_its_time_and_tries_less_and_less_often():
    clock = Clock()
    patient, tries = patience(60.0, clock), 0
    while patient.bears(LOST):
        tries += 1
        assert tries < 1000
    assert 40.0 < clock.now_s <= 60.0
    assert clock.waits[0] <= 0.2
    assert max(clock.waits) <= 5.0
    assert all(wait >= 2.5 for wait in clock.waits[6:])


def test_a_slow_call_counts_too():
    clock = Clock()
    patient = patience(10.0, clock)
    assert patient.bears(LOST)
    clock.now_s += 10.0
    assert not patient.bears(LOST)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0.0, LOST),
        (60.0, PlanError(ErrorCode.UNAUTHENTICATED, "who?")),
        (60.0, PlanError(ErrorCode.INVALID_OUTPUT, "nonsense", retryable=True)),
        (60.0, PlanError(ErrorCode.RESOURCE_EXHAUSTED, "too large, for ever")),
    ],
)
def test_what_does_not_pass_is_not_waited_for(seconds, error):
    clock = Clock()
    assert not patience(seconds, clock).bears(error)
    assert not clock.waits


def test_the_end_of_the_goal_ends_the_wait():
    clock = Clock(ends_at_s=0.0)
    assert not patience(60.0, clock).bears(LOST)
    assert len(clock.waits) == 1
