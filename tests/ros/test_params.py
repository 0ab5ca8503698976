"""Parameters: described, ranged, read-only, and wrong ones refused with words."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("emu_planner_msgs")

import rclpy
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from emu_planner.cli.processes import free_domain
from emu_planner.ros.params import PlannerParams, declare_params, refuse_old_names
from emu_planner.ros.planner_node import make_remote_planner
from emu_planner.wire.credentials import Credentials

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def context():
    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    yield context
    rclpy.shutdown(context=context)


def node_with(context: Context, **values) -> Node:
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    return Node("planner", context=context, parameter_overrides=overrides)


def declared(context: Context, **values) -> PlannerParams:
    return declare_params(node_with(context, **values))


def test_defaults(context: Context):
    params = declared(context)
    assert [camera.image_topic for camera in params.cameras] == ["front/image_raw", "side/image_raw"]
    assert [camera.info_topic for camera in params.cameras] == ["front/camera_info", "side/camera_info"]


def test_a_camera_of_ones_own(context: Context):
    values = {"camera__arm__topic": "hand/rgb/image", "camera__arm__transport": "compressed"}
    (camera,) = declared(context, cameras=["arm"], **values).cameras
    assert camera.image_topic == "hand/rgb/image/compressed"
    assert camera.info_topic == "hand/rgb/camera_info"


def test_every_parameter_is_described_and_read_only(context: Context):
    node = node_with(context)
    declare_params(node)
    names = [
        name for name in node._parameters if name not in ("use_sim_time", "start_type_description_service")
    ]
    assert len(names) > 15
    for name in names:
        descriptor = node.describe_parameter(name)
        assert descriptor.description, name
        assert descriptor.read_only, name
        if isinstance(node.get_parameter(name).value, float):
            assert descriptor.floating_point_range, name
    (answer,) = node.set_parameters([Parameter("server", value="elsewhere:1")])
    assert not answer.successful


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cameras": ["a", "a"]}, "different names"),
        ({"cameras": [""]}, "different names"),
        ({"server": ""}, "server is empty"),
        ({"frame_encoding": "gif"}, "gif"),
        ({"camera__front__transport": "theora"}, "theora"),
        ({"replan_on_drift": True, "progress_period": 0.0}, "progress_period 0"),
    ],
)
def test_values_that_do_not_fit(context: Context, values: dict, words: str):
    with pytest.raises(ValueError, match=words):
        declared(context, **values)


def test_a_name_of_an_earlier_version_is_told_its_present_one():
    refuse_old_names(["cameras", "camera.front.topic"])
    with pytest.raises(ValueError, match=r"it is camera\.front\.topic now"):
        refuse_old_names(["cameras.front.topic"])


@pytest.mark.parametrize(
    "values",
    [
        {"subgoal_validity": 0.0},
        {"subgoal_validity": float("nan")},
        {"connect_timeout": float("inf")},
        {"connect_timeout": -1.0},
        {"connect_timeout": "soon"},
        {"max_failures": 0},
        {"jpeg_quality": 101},
        {"progress_period": -1.0},
        {"drift_patience": 0},
    ],
)
def test_values_out_of_range_or_of_another_type(context: Context, values: dict):
    with pytest.raises(ParameterException):
        declared(context, **values)


@pytest.mark.parametrize(
    "given",
    ["jpeg_quality:=1000", "subgoal_validity:=-1.0", "connect_timeout:=soon", "cameras.front.topic:=a"],
)
def test_a_node_with_a_wrong_parameter_names_it_and_ends(given: str):
    ended = subprocess.run(
        [sys.executable, "-m", "emu_planner.ros.planner_node", "--ros-args", "-p", given],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 2
    assert given.partition(":=")[0] in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_names_nest_so_that_ros2_param_dump_can_write_them(context: Context):
    node = node_with(context)
    declare_params(node)
    tree: dict = {}
    for name in sorted(node._parameters):
        *folders, leaf = name.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
            assert isinstance(place, dict), f"{name} lies below a parameter"
        place[leaf] = None


def test_secrets_come_from_the_environment_not_from_parameters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: Context
):
    token = tmp_path / "token"
    token.write_text("of-robot-1\n")
    monkeypatch.setenv("EMU_PLANNER_TLS", "1")
    monkeypatch.setenv("EMU_PLANNER_TOKEN_FILE", str(token))
    planner = make_remote_planner(declared(context))
    assert planner.config.credentials == Credentials(tls=True, token_file=token)
    planner.close()
    assert not [f.name for f in fields(PlannerParams) if "token" in f.name or "tls" in f.name]


def test_a_node_with_unreadable_secrets_says_so_and_ends(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-m", "emu_planner.ros.planner_node"],
        env={**os.environ, "EMU_PLANNER_CA": str(tmp_path / "none.pem")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 2
    assert "none.pem" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
