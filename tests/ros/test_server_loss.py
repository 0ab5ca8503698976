"""The service dies during a plan, and comes back; the node stays."""

import signal
import time

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import PlannerStatus
from emu_planner_msgs.srv import GetServerInfo

from tests.ros.rig import ABORTED, CANCELED, OK, free_port, running_rig, stop_process, until

pytestmark = pytest.mark.ros


def test_a_killed_service_ends_the_goal_and_the_next_one_works_after_it_is_back():
    with running_rig() as rig:
        port = free_port()
        service = rig.start_service(port)
        rig.start_camera()
        node = rig.start_node(server=f"127.0.0.1:{port}")
        assert rig.goal("warm up").result()[0] == OK
        info = rig.call(GetServerInfo, "planner/server_info")
        assert info.success
        assert info.model_ready
        assert info.server == f"127.0.0.1:{port}"
        assert info.wire_version.startswith("1.")
        run = rig.goal("count slowly")
        until(lambda: run.saw(PlanTask.Feedback.PHASE_GENERATING_KEYFRAME), "a plan in work")
        killed_s = time.monotonic()
        stop_process(service, signal.SIGKILL)
        status, result = run.result()
        took_s = time.monotonic() - killed_s
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.SERVER_UNAVAILABLE)
        assert took_s < 5.0, "the interface promises 5 s"
        assert result.error_msg
        rig.status(lambda s: s.link == PlannerStatus.LINK_DISCONNECTED)
        # nobody there: the goal says so too, and does not wait for ever
        status, result = rig.goal("nobody").result()
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.SERVER_UNAVAILABLE)
        info = rig.call(GetServerInfo, "planner/server_info")
        assert not info.success
        assert str(port) in info.error_msg
        rig.start_service(port)
        assert rig.goal("back again").result()[0] == OK
        assert node.poll() is None, "the same node"


def test_a_patient_goal_outlives_its_service():
    with running_rig() as rig:
        port = free_port()
        service = rig.start_service(port)
        rig.start_camera()
        rig.start_node(server=f"127.0.0.1:{port}", reconnect_patience=60.0)
        run = rig.goal("count slowly", max_subgoals=1)
        until(lambda: run.saw(PlanTask.Feedback.PHASE_GENERATING_KEYFRAME), "a plan in work")
        stop_process(service, signal.SIGKILL)
        rig.status(lambda s: s.link != PlannerStatus.LINK_READY)
        rig.start_service(port)
        status, result = run.result()
        assert (status, result.error_code, len(result.plan.subgoals)) == (OK, PlanTask.Result.NONE, 1)


def test_a_patient_goal_can_be_cancelled_while_it_waits():
    with running_rig() as rig:
        rig.start_camera()
        rig.start_node(server=f"127.0.0.1:{free_port()}", reconnect_patience=600.0, connect_timeout=0.2)
        run = rig.goal("nobody")
        until(lambda: len(run.feedback) > 2, "the goal to wait")
        run.cancel()
        assert run.result()[0] == CANCELED
