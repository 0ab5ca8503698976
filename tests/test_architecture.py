"""The architecture, written down as tests: who may import whom, and how large a file may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 500
SOURCES = sorted(
    path
    for folder in ("emu_planner", "sim", "tools", "launch", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "_pb2" not in path.name
)
ROOMS_WITHOUT_ROS = [
    path for path in SOURCES if path.is_relative_to(ROOT / "sim") and not path.name.startswith("ros_")
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_roots(path: Path) -> set[str]:
    """First parts of all modules that a file imports, inside functions too."""
    roots = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


def test_the_import_contract_holds() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    result = subprocess.run(command + ["--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{name_of(path)} does not open by saying what it is"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_outgrows_a_reader(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines: split it by what changes together"


@pytest.mark.parametrize("path", ROOMS_WITHOUT_ROS, ids=name_of)
def test_the_simulator_knows_ros_only_in_its_adapters(path: Path) -> None:
    found = imported_roots(path) & {"rclpy", "emu_planner_msgs", "sensor_msgs", "rosgraph_msgs"}
    assert not found, f"{name_of(path)} imports {found}; only sim/ros_*.py may"


def test_the_check_of_imports_sees_through_functions(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.py"
    hidden.write_text("def f():\n    import rclpy.node\n")
    assert imported_roots(hidden) == {"rclpy"}
