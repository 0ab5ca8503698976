"""A node's parameters as a bag holds them, by their present and their earlier names."""

from types import SimpleNamespace

import pytest

pytest.importorskip("emu_planner_msgs")

from rclpy.parameter import Parameter

from emu_planner.bags.parameters import read_parameters


@pytest.mark.parametrize("prefix", ["camera", "cameras"])
def test_cameras_are_read_by_both_names(prefix: str) -> None:
    values = {
        "cameras": ["wrist"],
        f"{prefix}.wrist.topic": "wrist/image",
        f"{prefix}.wrist.transport": "compressed",
        f"{prefix}.wrist.width": 640,
        f"{prefix}.wrist.height": 480,
        "use_sim_time": False,
        "observation_max_age": 0.5,
    }
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    params = read_parameters(SimpleNamespace(new_parameters=messages))
    (camera,) = params.cameras
    assert (camera.topic, camera.transport, camera.width, camera.height) == (
        "wrist/image", "compressed", 640, 480,
    )  # fmt: skip
    assert params.observation_max_age == 0.5
