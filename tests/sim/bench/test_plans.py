"""What came of asking a planner: its own errors keep its steps, an outage is no plan at all."""

import numpy as np
import pytest

from emu_planner.plan import ErrorCode, Observation, PlanError, Task
from emu_planner.plan.frame import Frame, Still
from sim.bench.plans import Outage, take
from tests.sim.bench.scripted import Says

SHOWN = Observation(tuple(Frame(np.zeros((192, 192, 3), np.uint8), name) for name in ("front", "side")), 1)
OUTAGES = {ErrorCode.SERVER_UNAVAILABLE, ErrorCode.MODEL_NOT_READY, ErrorCode.RESOURCE_EXHAUSTED}


@pytest.mark.parametrize("code", sorted(OUTAGES, key=str))
def test_an_outage_says_nothing_of_the_planner(code: ErrorCode) -> None:
    planner = Says(("pick up the red block",), PlanError(code, "come back later"))
    with pytest.raises(Outage, match=f"{code.value}: come back later"):
        take("do it", planner.plan(Task("do it"), Still(SHOWN)), SHOWN, 10)


@pytest.mark.parametrize("code", sorted(set(ErrorCode) - OUTAGES, key=str))
def test_a_planners_own_error_keeps_its_steps(code: ErrorCode) -> None:
    planner = Says(("pick up the red block",), PlanError(code, "no more words"))
    taken = take("do it", planner.plan(Task("do it"), Still(SHOWN)), SHOWN, 10)
    assert taken.fault == ""
    assert taken.report.error_code == code.value
    assert len(taken.report.steps) == 1
