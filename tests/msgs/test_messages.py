"""The message package: complete, explained, unchanged by accident, and usable as it is installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MSGS = ROOT / "msgs"
INTERFACES = sorted(path for kind in ("msg", "srv", "action") for path in (MSGS / kind).iterdir())
LOCK = Path(__file__).with_name("interface_hashes.json")
FIELD = re.compile(r"^[a-zA-Z][\w/]*(\[\d*\])? +[a-z]\w*( +\S+)?$")


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def built_hashes() -> dict[str, str]:
    """RIHS01 hash of every interface, as the build wrote it down."""
    share = Path(sys.prefix) / "share" / "emu_planner_msgs"
    hashes = {}
    for path in INTERFACES:
        content = json.loads((share / path.parent.name / f"{path.stem}.json").read_text())
        hashes |= {
            entry["type_name"]: entry["hash_string"]
            for entry in content["type_hashes"]
            if entry["type_name"] == f"emu_planner_msgs/{name_of(path)}"
        }
    return hashes


def test_cmake_builds_every_interface_there_is() -> None:
    listed = re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', (MSGS / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(f"{path.parent.name}/{path.name}" for path in INTERFACES)


@pytest.mark.parametrize("path", INTERFACES, ids=name_of)
def test_every_field_is_explained(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), "the first line says what the interface is"
    block_explained = False  # a comment line explains what follows it up to the next blank line
    unexplained = []
    for line in lines:
        code, _, comment = line.partition("#")
        if not code.strip() or code.strip() == "---":
            block_explained = bool(comment.strip())
        elif FIELD.match(code.strip()) and not comment.strip() and not block_explained:
            unexplained.append(code.strip())
    # the id of a plan is explained where plans are defined
    assert [code for code in unexplained if not code.endswith(" plan_id")] == []


@pytest.mark.ros
def test_no_interface_changed_by_accident() -> None:
    """Another hash means that old bags and old peers no longer match: say so in CHANGELOG.

    To accept a change: python tests/msgs/test_messages.py
    """
    assert built_hashes() == json.loads(LOCK.read_text())


@pytest.mark.ros
@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"AMENT_PREFIX_PATH": "/opt/ros/jazzy", "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib"},
        {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "LD_LIBRARY_PATH": "/another/environment/lib"},
    ],
    ids=["bare", "another ROS is sourced", "child of another environment"],
)
def test_messages_load_whatever_the_environment_says(foreign: dict[str, str]) -> None:
    code = (
        "import os, sys, rclpy; from emu_planner_msgs.action import PlanTask;"
        "type(PlanTask.Goal).__import_type_support__();"
        "assert os.environ['AMENT_PREFIX_PATH'].split(':')[0] == sys.prefix"
    )
    env = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")} | foreign
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.ros
def test_building_again_does_nothing() -> None:
    command = [sys.executable, str(ROOT / "tools" / "build_messages.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout == "emu_planner_msgs: up to date\n", result.stdout + result.stderr


if __name__ == "__main__":
    LOCK.write_text(json.dumps(built_hashes(), indent=2) + "\n")
