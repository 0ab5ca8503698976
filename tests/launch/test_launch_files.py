"""The launch files without ROS's launch, which has no wheel: read as syntax trees and YAML.

They must name executables that setup.py installs, explain every argument, and pass parameters
that the nodes declare.
"""

import ast
import importlib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
# files that include others: the constant with what they pass on, and to which file
INCLUDED = {
    "demo.launch.py": (("OF_SIM", "sim"), ("OF_PLANNER", "planner")),
    "rig.launch.py": (("OF_PLANNER", "planner"),),
}


def calls(path: Path, *names: str) -> list[ast.Call]:
    """Every call in a file of a function with one of these names."""
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [c for c in found if getattr(c.func, "id", getattr(c.func, "attr", "")) in names]


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {k.arg: k.value for k in call.keywords if k.arg}


def declared_arguments(path: Path) -> dict[str, dict[str, ast.expr]]:
    return {ast.literal_eval(c.args[0]): keywords(c) for c in calls(path, "DeclareLaunchArgument")}


def installed_executables() -> set[str]:
    tree = ast.parse((ROOT / "setup.py").read_text())
    scripts = next(
        value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "console_scripts"
    )
    return {line.split("=")[0].strip() for line in ast.literal_eval(scripts)}


def node_parameters(section: str) -> dict[str, object]:
    """One node's section of params.yaml."""
    content = yaml.safe_load((ROOT / "launch" / "params.yaml").read_text())
    return content[f"/**/{section}"]["ros__parameters"]


def test_all_files_are_there() -> None:
    names = {path.name for path in LAUNCH_FILES}
    assert names == {"demo.launch.py", "planner.launch.py", "rig.launch.py", "sim.launch.py"}
    assert not (ROOT / "launch" / "__init__.py").exists(), "it would hide ROS's own package launch"


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_file_describes_a_launch(path: Path) -> None:
    functions = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
    assert "generate_launch_description" in functions


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_has_description_and_default(path: Path) -> None:
    arguments = declared_arguments(path)
    assert {"namespace", "use_sim_time", "params_file", "log_level"} <= set(arguments)
    for name, given in arguments.items():
        assert "default_value" in given, name
        assert len(ast.literal_eval(given["description"])) > 15, name


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_arguments_in_use_are_declared_and_declared_ones_in_use(path: Path) -> None:
    used = {ast.literal_eval(c.args[0]) for c in calls(path, "LaunchConfiguration") if is_constant(c)}
    for constant, _ in INCLUDED.get(path.name, ()):
        used |= set(module_constant(path, constant))
    assert used == set(declared_arguments(path))


def is_constant(call: ast.Call) -> bool:
    return isinstance(call.args[0], ast.Constant)


def module_constant(path: Path, name: str) -> tuple[str, ...]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path.name} has no {name}")


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_executables_are_installed(path: Path) -> None:
    started = calls(path, "Node", "LifecycleNode", "ExecutableInPackage")
    names = {ast.literal_eval(keywords(c)["executable"]) for c in started}
    assert names
    assert names <= installed_executables()


# a simulated camera has no noise; a rig's service is another machine's
OWN_DEFAULTS = {
    "demo.launch.py": {"camera_frozen_after": "0.0"},
    "rig.launch.py": {"start_service": "false"},
}


@pytest.mark.parametrize("outer", INCLUDED)
def test_arguments_of_included_files_are_passed_on_with_the_same_default(outer: str) -> None:
    declared = declared_arguments(ROOT / "launch" / outer)
    for constant, name in INCLUDED[outer]:
        included = declared_arguments(ROOT / "launch" / f"{name}.launch.py")
        assert set(module_constant(ROOT / "launch" / outer, constant)) == set(included)
        for argument, given in included.items():
            default = declared[argument]["default_value"]
            if argument in OWN_DEFAULTS[outer]:
                assert ast.literal_eval(default) == OWN_DEFAULTS[outer][argument]
            else:
                assert ast.dump(given["default_value"]) == ast.dump(default), argument


def test_the_rig_maps_the_cameras_that_the_file_names() -> None:
    path = ROOT / "launch" / "rig.launch.py"
    mapped = {ast.literal_eval(c.args[0]) for c in calls(path, "camera_remaps")}
    parameters = node_parameters("planner")
    assert mapped == set(parameters["cameras"])
    arguments = declared_arguments(path)
    for camera in mapped:
        default = ast.literal_eval(arguments[f"{camera}_topic"]["default_value"])
        assert default == parameters[f"camera.{camera}.topic"]


@pytest.mark.ros
@pytest.mark.parametrize("namespace", ["", "/rig_2"])
@pytest.mark.parametrize(
    ("name", "declare"),
    [("planner", "emu_planner.ros.params:declare_params"), ("sim", "sim.ros_node:_declare_params")],
)
def test_the_nodes_read_the_file_and_declare_what_is_in_it(namespace: str, name: str, declare: str) -> None:
    rclpy = pytest.importorskip("rclpy")
    module, _, function = declare.partition(":")
    file = ROOT / "launch" / "params.yaml"
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(file)], context=context)
    try:
        node = rclpy.create_node(name, namespace=namespace, context=context)
        read = getattr(importlib.import_module(module), function)(node)
        in_node = {key: p.value for key, p in node.get_parameters_by_prefix("").items()}
    finally:
        rclpy.shutdown(context=context)
    in_file = node_parameters(name)
    assert {key: value for key, value in in_node.items() if key in in_file} == in_file
    assert set(in_node) - set(in_file) <= {"use_sim_time", "start_type_description_service"}
    assert defaults_of(type(read)).items() <= in_file.items()


def defaults_of(params: type) -> dict[str, object]:
    """Defaults of a dataclass of parameters, for fields that have one."""
    return {f.name: f.default for f in fields(params) if f.default is not MISSING}


def test_parameters_set_by_the_launch_files_are_declared_with_the_same_default() -> None:
    for name, by_argument in (("planner", {"server"}), ("sim", {"family", "robot", "seed"})):
        path = ROOT / "launch" / f"{name}.launch.py"
        in_file = node_parameters(name)
        assert by_argument <= overrides(path) - {"use_sim_time"} <= set(in_file)
        for argument in by_argument:
            default = ast.literal_eval(declared_arguments(path)[argument]["default_value"])
            assert default == str(in_file[argument])


def overrides(path: Path) -> set[str]:
    """Names of the parameters that a file passes in a dictionary."""
    dicts = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Dict)]
    return {ast.literal_eval(key) for d in dicts for key in d.keys if key is not None}


def test_launch_files_are_installed_and_the_index_marker_is_there() -> None:
    text = (ROOT / "setup.py").read_text()
    assert 'glob("launch/*.py")' in text
    assert 'glob("launch/*.yaml")' in text
    assert (ROOT / "resource" / "emu_planner").is_file()
