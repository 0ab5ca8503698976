"""The node's states: goals only while active, everything again after a round of them, and an orderly end."""

import signal

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import PlanTask
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from emu_planner.wire.client import RemotePlanner
from tests.ros.rig import ABORTED, OK, Rig, free_port, running_rig, until

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


def test_a_node_that_is_told_to_end_gives_its_goal_a_result():
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        rig.start_camera()
        node = rig.start_node(server=f"127.0.0.1:{port}")
        run = rig.goal("count slowly")
        until(lambda: run.saw(PlanTask.Feedback.PHASE_GENERATING_KEYFRAME), "a plan in work")
        node.send_signal(signal.SIGINT)
        status, result = run.result()
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.GOAL_REJECTED)
        assert "deactivated" in result.error_msg
        assert node.wait(30.0) == 0
        # and the service has it from the node, not from a link that breaks: the place is free at once
        with RemotePlanner(f"127.0.0.1:{port}") as planner:
            until(lambda: planner.server_info().active_sessions == 0, "the end of the session")
