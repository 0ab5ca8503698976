"""Learning rate and progress over a run."""

import pytest

from emu_planner.training.schedule import Schedule


def test_rate_warms_up_and_comes_down():
    schedule = Schedule(steps=100, minutes=None, warm_up=10)
    rates = [schedule.rate(step, schedule.progress(step)) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, abs=0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates.index(max(rates)) == 9
    assert rates[-1] < 0.05
    assert schedule.progress(100) == 1.0


def test_a_run_needs_a_length():
    with pytest.raises(ValueError, match="needs a length"):
        Schedule(steps=0, minutes=None, warm_up=0)
