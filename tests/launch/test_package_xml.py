"""package.xml names the packages that the code needs, and no others."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.test_architecture import imported_roots

ROOT = Path(__file__).resolve().parents[2]
# rosdep's key of each package that is no ROS package
KEYS = {
    "cv2": "python3-opencv",
    "google": "python3-protobuf",
    "grpc": "python3-grpcio",
    "hypothesis": "python3-hypothesis",
    "numpy": "python3-numpy",
    "pytest": "python3-pytest",
}
# what the planner node and an executor import, wherever they get it from
OF_THE_NODE = ("plan", "wire", "goal", "ros", "executor")
# imported where it is installed, in wire/tracing.py
OPTIONAL = {"opentelemetry"}
OF_ROS = re.compile(r"rclpy|launch(_ros)?|ament_index_python|\w+_(msgs|interfaces|srvs)")


def declared(tag: str) -> set[str]:
    return {element.text for element in ET.parse(ROOT / "package.xml").getroot().iter(tag)}


def imported(*folders: str) -> set[str]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return set().union(*map(imported_roots, files))


def test_it_names_each_ros_package_that_is_imported():
    ours = {name for name in imported("emu_planner", "sim", "launch") if OF_ROS.fullmatch(name)}
    assert ours == {name for name in declared("exec_depend") if not name.startswith("python3-")}
    tests = {name for name in imported("tests") if OF_ROS.fullmatch(name)} - ours
    assert tests <= declared("test_depend")


def test_it_names_what_else_the_node_imports():
    rooms = imported(*(f"emu_planner/{room}" for room in OF_THE_NODE))
    others = {name for name in rooms if not OF_ROS.fullmatch(name)} - set(sys.stdlib_module_names)
    keys = {KEYS[name] for name in others - OPTIONAL - {"emu_planner"}}
    assert keys == {name for name in declared("exec_depend") if name.startswith("python3-")}
