"""What the node says of the service that it asks: its model, or why it cannot be talked to."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

pytest.importorskip("emu_planner_msgs")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Plan
from emu_planner_msgs.srv import GetPlan, GetServerInfo

from tests.ros.rig import ABORTED, LATCHED, OK, Rig, free_port, next_in, running_rig
from tests.ros.scripted import MODEL, VERSION
from tests.ros.test_topics import LOSSY

pytestmark = pytest.mark.ros


def of_the_future(port: int) -> grpc.Server:
    """A service of the same project, some years on: it knows another wire and none of today's calls."""
    server = grpc.server(ThreadPoolExecutor(1))
    calls = {"Plan": grpc.stream_stream_rpc_method_handler(lambda requests, _: requests)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("emu.planner.v2.PlannerService", calls),)
    )
    assert server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def link_of(rig: Rig, level: bytes) -> DiagnosticStatus:
    """The link's diagnostic, once it has this level."""
    heard = rig.listen(DiagnosticArray, "/diagnostics", LOSSY)

    def link(message: DiagnosticArray) -> DiagnosticStatus:
        return next(status for status in message.status if status.name == "planner: link")

    return link(next_in(heard, lambda message: link(message).level == level))


def test_a_service_of_another_wire_is_told_apart_and_one_of_ours_names_its_model():
    with running_rig() as rig:
        port = free_port()
        strange = of_the_future(port)
        rig.start_camera()
        rig.start_node(server=f"127.0.0.1:{port}")
        plans = rig.listen(Plan, "planner/plan", LATCHED)

        status, result = rig.goal("talk to the future").result()
        assert (status, result.error_code) == (ABORTED, PlanTask.Result.INCOMPATIBLE_SERVER)
        assert f"127.0.0.1:{port} is no emu.planner.v1 service" in result.error_msg
        assert "one version at both ends" in result.error_msg
        assert (result.plan.model, result.plan.model_version) == ("", "")
        assert link_of(rig, DiagnosticStatus.ERROR).message == result.error_msg
        info = rig.call(GetServerInfo, "planner/server_info")
        assert (info.success, info.error_msg) == (False, result.error_msg)

        strange.stop(None).wait()
        rig.start_service(port)
        status, result = rig.goal("look").result()
        assert status == OK
        named = (MODEL, VERSION)
        assert (result.plan.model, result.plan.model_version) == named
        said = next_in(plans, lambda plan: plan.state == Plan.STATE_COMPLETE)
        assert (said.model, said.model_version) == named
        kept = rig.call(GetPlan, "planner/get_plan").plan
        assert (kept.model, kept.model_version) == named
        assert link_of(rig, DiagnosticStatus.OK).message == "ready"
        info = rig.call(GetServerInfo, "planner/server_info")
        assert (info.model, info.model_version) == named
