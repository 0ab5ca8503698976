"""The node's ROS parameters, declared once and read once into one frozen dataclass.

Every parameter has a description and, where it is a number, a range; all are read-only, because
a planner that changes under a running goal cannot be reviewed. Knows no topic's content, no plan.
Secrets are no parameters: any node can read those.
"""

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

TRANSPORTS = ("raw", "compressed")
ENCODINGS = ("jpeg", "png")


def _param(default: Any, description: str, low: float = 0.0, high: float = 0.0) -> Any:
    metadata = {"description": description, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class CameraParams:
    """One camera: `camera.<name>.topic`, `.transport`, `.width` and `.height`."""

    name: str
    # image topic without the transport's suffix, relative to the node's namespace
    topic: str
    # raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage on <topic>/compressed
    transport: str = "raw"
    # size that its pictures must have, px; 0: any
    width: int = 0
    height: int = 0

    def __post_init__(self) -> None:
        if (self.width == 0) != (self.height == 0):
            raise ValueError(
                f"camera.{self.name}.width and .height are {self.width} and {self.height}; "
                "give both, or 0 for both"
            )
        if self.transport not in TRANSPORTS:
            raise ValueError(
                f"camera.{self.name}.transport is {self.transport!r}; expected one of {TRANSPORTS}"
            )
        if not self.topic:
            raise ValueError(f"camera.{self.name}.topic is empty; leave it out for the default")

    @property
    def image_topic(self) -> str:
        """The topic to subscribe to, with the transport's suffix as image_transport names it."""
        return f"{self.topic}/compressed" if self.transport == "compressed" else self.topic

    @property
    def info_topic(self) -> str:
        """camera_info beside the image topic, as image_transport looks for it."""
        head, slash, _ = self.topic.rpartition("/")
        return f"{head}{slash}camera_info"


@dataclass(frozen=True)
class PlannerParams:
    """All parameters of the node; a field's name is the parameter's name. Times in seconds."""

    # a tuple of CameraParams: from the string array `cameras` and its `camera.<name>.*`
    cameras: tuple[CameraParams, ...]
    server: str = _param("127.0.0.1:50151", 'Planner service: "host:port" or "unix:///path"')
    autostart: bool = _param(
        default=False, description="Configure and activate at start, without a lifecycle manager"
    )
    connect_timeout: float = _param(3.0, "Longest wait for the service to answer, s", 0.1, 60.0)
    reconnect_patience: float = _param(
        0.0,
        "How long a goal waits for a service that went away, loads its model or is full, s: a plan whose "
        "link broke goes on where it was (within 2 s also at 0); else the service is asked again, but at 0",
        0.0,
        3600.0,
    )
    observation_timeout: float = _param(
        3.0, "Longest wait for a fresh picture of every camera before planning, s", 0.01, 600.0
    )
    observation_max_age: float = _param(
        1.0, "A picture that arrived longer ago than this is not planned from, s", 0.01, 600.0
    )
    camera_frozen_after: float = _param(
        3.0,
        "A camera that shows the same pixels for longer is not planned from, s; 0: it may (a simulator "
        "has no noise)",
        0.0,
        3600.0,
    )
    camera_dark_level: float = _param(
        4.0, "A picture whose mean is below this, of 255, is not planned from; 0: it is", 0.0, 255.0
    )
    frame_encoding: str = _param("jpeg", "How frames go to the service: jpeg, or png (lossless)")
    jpeg_quality: int = _param(90, "Quality of frames sent as JPEG", 1, 100)
    first_subgoal_timeout: float = _param(
        120.0, "Longest wait for the first whole subgoal of a plan, s", 0.1, 3600.0
    )
    subgoal_timeout: float = _param(
        120.0, "Longest wait for each later whole subgoal of a plan, s", 0.1, 3600.0
    )
    subgoal_validity: float = _param(
        10.0,
        "An approved subgoal that nobody started by then expires; also the LIFESPAN of ~/active_subgoal, s",
        0.1,
        3600.0,
    )
    review_timeout: float = _param(
        300.0, "Longest wait for a person's review of one subgoal, s", 0.1, 86400.0
    )
    time_limit: float = _param(
        900.0, "Longest a goal may take when it sets no limit of its own, s", 0.1, 86400.0
    )
    max_subgoals: int = _param(
        20, "Most subgoals of a goal that sets no limit of its own; 0: no limit", 0, 1000
    )
    max_failures: int = _param(
        3, "A closed-loop goal ends after so many failed or expired subgoals in a row", 1, 1000
    )
    progress_period: float = _param(
        1.0,
        "Time between two looks at a step that is carried out, against its keyframe, s; 0: none",
        0.0,
        3600.0,
    )
    drift_patience: int = _param(5, "So many looks in a row that find a step drifting are drift", 1, 1000)
    replan_on_drift: bool = _param(
        default=False,
        description="Take back a subgoal that drifts, which stops its executor, and plan again",
    )
    keyframes: bool = _param(default=True, description="Ask for an imagined picture with each subgoal")

    def __post_init__(self) -> None:
        _check_names([camera.name for camera in self.cameras])
        if self.frame_encoding not in ENCODINGS:
            raise ValueError(f"frame_encoding is {self.frame_encoding!r}; expected one of {ENCODINGS}")
        if not self.server:
            raise ValueError('server is empty; give "host:port" or "unix:///path"')
        if self.replan_on_drift and not self.progress_period:
            raise ValueError("replan_on_drift is true and progress_period 0; give a period above 0")


def declare_params(node: Node) -> PlannerParams:
    """Declare every parameter on the node and read it.

    Raises:
        rclpy.exceptions.ParameterException: a value has the wrong type or is out of range.
        ValueError: values that do not fit together; says which and what is expected.
    """
    names = node.declare_parameter(
        "cameras",
        ["front", "side"],
        _descriptor("Names of the cameras that make an observation, in the model's order"),
    ).value
    _check_names(names)
    cameras = tuple(_declare_camera(node, name) for name in names)
    values = {f.name: _declare_field(node, f) for f in fields(PlannerParams) if f.name != "cameras"}
    return PlannerParams(cameras=cameras, **values)


def refuse_old_names(given: Iterable[str]) -> None:
    """ValueError: a name of an earlier version, which would be passed over in silence."""
    for name in sorted(given):
        if name.startswith("cameras."):
            raise ValueError(
                f"there is no parameter {name}; it is camera.{name.removeprefix('cameras.')} now"
            )


def _check_names(names: list[str]) -> None:
    if not names or "" in names or len(set(names)) != len(names):
        raise ValueError(f"cameras is {names}; expected one or more different names")


def _declare_camera(node: Node, name: str) -> CameraParams:
    topic = node.declare_parameter(
        f"camera.{name}.topic",
        f"{name}/image_raw",
        _descriptor(f"Image topic of camera {name}, without a transport's suffix"),
    )
    transport = node.declare_parameter(
        f"camera.{name}.transport",
        "raw",
        _descriptor(f"How camera {name} is sent", " or ".join(TRANSPORTS)),
    )
    width, height = (
        node.declare_parameter(
            f"camera.{name}.{side}",
            0,
            _descriptor(f"{side.capitalize()} that pictures of camera {name} must have, px; 0: any"),
        )
        for side in ("width", "height")
    )
    return CameraParams(name, topic.value, transport.value, width.value, height.value)


def _declare_field(node: Node, f: Field[Any]) -> Any:
    descriptor = _descriptor(f.metadata["description"])
    low, high = f.metadata["low"], f.metadata["high"]
    if isinstance(f.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif isinstance(f.default, int) and not isinstance(f.default, bool):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return node.declare_parameter(f.name, f.default, descriptor).value


def _descriptor(description: str, constraints: str = "") -> ParameterDescriptor:
    return ParameterDescriptor(description=description, read_only=True, additional_constraints=constraints)
