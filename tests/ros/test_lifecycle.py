"""The node's states: goals only while active, and everything again after a round of them."""

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import PlanTask
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from tests.ros.rig import ABORTED, OK, Rig, running_rig, until

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def rig():
    with running_rig() as rig:
        rig.start_camera()
        yield rig


def change(rig: Rig, transition: int) -> int:
    request = Transition(id=transition)
    assert rig.call(ChangeState, "planner/change_state", transition=request).success
    return rig.call(GetState, "planner/get_state").current_state.id


def test_a_round_through_the_states(rig: Rig):
    node = rig.start_node("tests.ros.scripted", autostart=False)
    assert change(rig, Transition.TRANSITION_CONFIGURE) == State.PRIMARY_STATE_INACTIVE
    rig.wait_for_action()
    assert rig.send("inactive") is None
    for _ in range(2):
        assert change(rig, Transition.TRANSITION_ACTIVATE) == State.PRIMARY_STATE_ACTIVE
        assert rig.goal("look").result()[0] == OK
        run = rig.goal("count slowly")
        until(lambda run=run: run.feedback, "work")
        assert change(rig, Transition.TRANSITION_DEACTIVATE) == State.PRIMARY_STATE_INACTIVE
        status, result = run.result()
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.GOAL_REJECTED)
        assert rig.send("inactive again") is None
    assert change(rig, Transition.TRANSITION_CLEANUP) == State.PRIMARY_STATE_UNCONFIGURED
    assert change(rig, Transition.TRANSITION_CONFIGURE) == State.PRIMARY_STATE_INACTIVE
    assert change(rig, Transition.TRANSITION_ACTIVATE) == State.PRIMARY_STATE_ACTIVE
    rig.wait_for_action()
    assert rig.goal("look").result()[0] == OK
    assert change(rig, Transition.TRANSITION_ACTIVE_SHUTDOWN) == State.PRIMARY_STATE_FINALIZED
    assert node.poll() is None
