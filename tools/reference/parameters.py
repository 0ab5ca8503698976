"""ROS parameters, topics and launch arguments of the nodes.

The nodes' own functions declare them, on a stand-in that writes down what it is asked for; no ROS is started.
Launch files are read as syntax trees: ROS's package launch has no wheel.
"""

import ast
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor

from emu_planner.ros.outputs import Outputs
from emu_planner.ros.params import declare_params
from sim import ros_node
from tools.reference.markdown import ROOT, code, plain, table


@dataclass(frozen=True)
class Declared:
    """What a node's parameter is when nobody sets it."""

    value: Any


@dataclass
class Notebook:
    """Looks like a node to whoever declares and publishes."""

    parameters: dict[str, tuple[Any, ParameterDescriptor]] = field(default_factory=dict)
    topics: list[tuple[str, Any, Any]] = field(default_factory=list)

    def declare_parameter(self, name: str, value: Any, descriptor: ParameterDescriptor) -> Declared:
        """Write it down."""
        self.parameters[name] = (value, descriptor)
        return Declared(value)

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> None:
        """Write it down."""
        self.topics.append((topic, kind, qos))


def page() -> str:
    """The whole page."""
    planner, rig = Notebook(), Notebook()
    params = declare_params(planner)  # type: ignore[arg-type]
    Outputs(planner, params.subgoal_validity)  # type: ignore[arg-type]
    ros_node._declare_params(rig)  # type: ignore[arg-type]
    launches = "\n".join(
        f"### {path.name}\n\n{_arguments(path.read_text())}"
        for path in sorted((ROOT / "launch").glob("*.launch.py"))
    )
    return f"""# ROS parameters, topics, launch arguments

Parameters are read once, when a node starts. `launch/params.yaml` holds them all at their defaults; times
are in seconds. The types of messages are on [ROS messages](messages.md).

## Node planner

{_parameters(planner)}
Each name in `cameras` has its four `camera.<name>.*`; here stand those of the default cameras.

### What it publishes

{_topics(planner)}
## Node sim

The simulated robot (`sim/ros_node.py`).

{_parameters(rig)}
## Launch arguments

{launches}"""


def _parameters(node: Notebook) -> str:
    return table(
        ("parameter", "default", "range", "meaning"),
        (
            (code(name), code(_yaml(value)), _range(descriptor), plain(descriptor.description))
            for name, (value, descriptor) in node.parameters.items()
        ),
    )


def _yaml(value: Any) -> str:
    """As one writes it in params.yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list) else str(value)


def _range(descriptor: ParameterDescriptor) -> str:
    for one in (*descriptor.floating_point_range, *descriptor.integer_range):
        return f"{one.from_value:g} to {one.to_value:g}"
    return plain(descriptor.additional_constraints)


def _topics(node: Notebook) -> str:
    return table(
        ("topic", "type", "depth", "reliability", "durability"),
        (
            (
                code(topic),
                code(f"{kind.__module__.partition('.')[0]}/{kind.__name__}"),
                str(qos.depth),
                qos.reliability.name.lower().replace("_", " "),
                qos.durability.name.lower().replace("_", " "),
            )
            for topic, kind, qos in node.topics
        ),
    )


def _arguments(text: str) -> str:
    rows = []
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "DeclareLaunchArgument":
            given = {word.arg: word.value for word in call.keywords}
            default = given["default_value"]
            rows.append(
                (
                    code(ast.literal_eval(call.args[0])),
                    code(default.value) if isinstance(default, ast.Constant) else "the package's file",
                    plain(ast.literal_eval(given["description"])),
                )
            )
    return table(("argument", "default", "meaning"), rows)
