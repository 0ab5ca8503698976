"""The recorder asks the planner node for its parameters until it has them."""

import contextlib
import time
from pathlib import Path

import pytest

pytest.importorskip("emu_planner_msgs")
pytest.importorskip("rosbags", reason="see requirements/export.txt")

import rclpy
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from emu_planner.bags import recorder
from emu_planner.bags.write import BagWriter
from emu_planner.cli.processes import free_domain

pytestmark = pytest.mark.ros


class LostError(Exception):
    """rclpy sends no answer for a callback that raises."""


@pytest.mark.parametrize("lost", ["names", "values"])
def test_a_lost_answer_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str):
    monkeypatch.setattr(recorder, "_AGAIN_S", 0.1)
    monkeypatch.setattr(recorder, "_BEAT_S", 0.05)
    asked = {"names": 0, "values": 0}

    def names(_: ListParameters.Request, response: ListParameters.Response) -> ListParameters.Response:
        lose("names")
        response.result.names = ["cameras", "camera.arm.topic"]
        return response

    def values(_: GetParameters.Request, response: GetParameters.Response) -> GetParameters.Response:
        lose("values")
        response.values = [
            ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=["arm"]),
            ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="arm/image_raw"),
        ]
        return response

    def lose(what: str) -> None:
        asked[what] += 1
        if what == lost and asked[what] == 1:
            raise LostError

    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    planner = Node("planner", context=context, start_parameter_services=False)
    planner.create_service(ListParameters, "~/list_parameters", names)
    planner.create_service(GetParameters, "~/get_parameters", values)
    planner.create_publisher(Image, "arm/image_raw", 1)
    with BagWriter(tmp_path / "bag") as bag:
        node = Node("recorder", context=context)
        recorder.Recorder(node, bag, recorder.RecorderConfig(tmp_path))
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(planner)
        executor.add_node(node)
        deadline = time.monotonic() + 30.0
        try:
            while not planner.count_subscribers("arm/image_raw"):
                assert time.monotonic() < deadline
                with contextlib.suppress(LostError):
                    executor.spin_once(0.02)
        finally:
            executor.shutdown()
            rclpy.shutdown(context=context)
    assert asked[lost] == 2
