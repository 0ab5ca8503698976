"""A planner node's parameters, from the message that a recording keeps them in. Knows no file."""

from typing import Any

from rclpy.parameter import parameter_value_to_python

from emu_planner.ros.params import CameraParams, PlannerParams


def read_parameters(event: Any) -> PlannerParams:
    """A planner node's parameters from the message that holds them; others' names are passed over."""
    values = {p.name: parameter_value_to_python(p.value) for p in event.new_parameters}
    names = PlannerParams.__dataclass_fields__
    cameras = tuple(
        CameraParams(
            name,
            **{
                field: values[f"{prefix}.{name}.{field}"]
                # "cameras": in bags from before the parameters' present names
                for prefix in ("cameras", "camera")
                for field in ("topic", "transport", "width", "height")
                if f"{prefix}.{name}.{field}" in values
            },
        )
        for name in values["cameras"]
    )
    own = {name: value for name, value in values.items() if name in names and name != "cameras"}
    return PlannerParams(cameras=cameras, **own)
