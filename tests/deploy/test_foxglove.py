"""The Foxglove layout shows topics, fields and services that the planner node has, and every panel of its."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.srv import ReviewSubgoal
from std_srvs.srv import SetBool

from emu_planner.bags.topics import camera_topics, planner_topics
from emu_planner.ros.params import CameraParams

pytestmark = pytest.mark.ros
LAYOUT = json.loads((Path(__file__).parents[2] / "deploy" / "foxglove" / "emu_planner.json").read_text())
PANELS = LAYOUT["configById"]
CAMERAS = [CameraParams(name, f"{name}/image_raw") for name in ("front", "side")]
TOPICS = {
    topic.name if topic.name.startswith("/") else f"/{topic.name}": topic.kind
    for topic in (*planner_topics(), *(t for camera in CAMERAS for t in camera_topics(camera)))
}
SERVICES = {"/planner/review_subgoal": ReviewSubgoal, "/planner/hold": SetBool}


def paths_of(panel: dict[str, Any]) -> list[str]:
    """Every topic, or topic with a field behind a dot, that a panel shows."""
    single = [
        panel.get("topicPath"),
        panel.get("topicToRender"),
        panel.get("imageMode", {}).get("imageTopic"),
    ]
    return [p for p in single if p] + [p["value"] for p in panel.get("paths", [])]


def test_each_topic_and_field_is_of_the_planner_node():
    shown = [path for panel in PANELS.values() for path in paths_of(panel)]
    assert len(shown) > 10
    for path in shown:
        topic, _, field = path.partition(".")
        assert topic in TOPICS, path
        assert not field or field in TOPICS[topic].get_fields_and_field_types(), path


def test_each_panel_shows_something():
    assert all(paths_of(panel) or "serviceName" in panel for panel in PANELS.values())


def test_each_request_fits_its_service():
    calls = [panel for panel in PANELS.values() if "serviceName" in panel]
    assert {panel["serviceName"] for panel in calls} == set(SERVICES)
    for panel in calls:
        fields = SERVICES[panel["serviceName"]].Request.get_fields_and_field_types()
        assert set(json.loads(panel["requestPayload"])) == set(fields)


def test_the_layout_places_each_panel_once():
    def placed(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else placed(node["first"]) + placed(node["second"])

    assert sorted(placed(LAYOUT["layout"])) == sorted(PANELS)
