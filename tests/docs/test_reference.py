"""The generated reference names everything that the source has, which is found here in another way."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("emu_planner_msgs")

from emu_planner.cli.main import COMMANDS
from emu_planner.ros.params import PlannerParams
from emu_planner.service.config import ServiceConfig
from emu_planner.service.metrics import Metrics
from emu_planner.service.session import ServiceState
from emu_planner.service.slots import RunSlots
from emu_planner.wire import planner_pb2
from tools.reference import pages, settings, wire

ROOT = Path(__file__).resolve().parents[2]
# a table's row begins with its name as code
ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return pages()


def part(page: str, heading: str) -> str:
    """What stands under a heading, to the next one of its level."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^{level} |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[1]


def test_every_ros_parameter(reference):
    page = reference["parameters.md"]
    for node in ("planner", "sim"):
        content = yaml.safe_load((ROOT / "launch" / "params.yaml").read_text())
        told = set(ROW.findall(part(page, f"## Node {node}")))
        assert set(content[f"/**/{node}"]["ros__parameters"]) <= told
    assert {f.name for f in fields(PlannerParams)} <= set(ROW.findall(part(page, "## Node planner")))
    for row in (
        "| `jpeg_quality` | `90` | 1 to 100 |",
        "| `autostart` | `false` |",
        "| `cameras` | `[front, side]` |",
    ):
        assert row in page


def test_every_topic_that_the_node_publishes(reference):
    text = (ROOT / "emu_planner" / "ros" / "outputs.py").read_text()
    topics = set(re.findall(r'_publish\(\w+, "([^"]+)"', text))
    assert len(topics) > 5
    assert topics <= set(ROW.findall(reference["parameters.md"]))


def test_every_launch_argument(reference):
    for path in (ROOT / "launch").glob("*.launch.py"):
        names = set(re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', path.read_text()))
        assert names
        assert names == set(ROW.findall(part(reference["parameters.md"], f"### {path.name}")))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "msgs").glob("*/*.*")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_field_and_constant_of_every_ros_message(reference, path):
    # by regular expressions, where the page has ROS's own parser
    names = re.findall(r"^[A-Za-z][\w/\[\]]*\s+(\w+)", path.read_text(), re.MULTILINE)
    told = ROW.findall(part(reference["messages.md"], f"## {path.parent.name}/{path.stem}"))
    assert names
    assert sorted(names) == sorted(told)


def test_every_message_call_and_value_of_the_wire(reference):
    page, wired = reference["wire.md"], planner_pb2.DESCRIPTOR
    for name, message in wired.message_types_by_name.items():
        rows = dict(re.findall(r"^\| `(\w+)` \| `[^`]+` \| (\d+) \|", part(page, f"## message {name}"), re.M))
        assert rows == {f.name: str(f.number) for f in message.fields}, name
    for name, enum in wired.enum_types_by_name.items():
        rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", part(page, f"## enum {name}"), re.M))
        assert rows == {value.name: str(value.number) for value in enum.values}, name
    for name, service in wired.services_by_name.items():
        assert ROW.findall(part(page, f"## service {name}")) == [call.name for call in service.methods]
    # comments: at the line, above the line, of a message of one line
    for words in ("monotonic in the session", "Same plan from one fixed set", "0: any epoch", "lossless"):
        assert words in page


def test_a_type_of_the_wire_stands_as_it_is_written():
    blocks, _ = wire.read("message A {\n  map<string, double> m = 1;  // why\n  optional uint64 o = 2;\n}\n")
    assert blocks[0].rows == [
        ("`m`", "`map<string, double>`", "1", "why"),
        ("`o`", "`optional uint64`", "2", ""),
    ]


def test_every_subcommand_and_every_option(reference):
    page = reference["commands.md"]
    for name in COMMANDS:
        assert f"## emu-planner {name}\n" in page
    # written down where they are declared; a module outside of the command line has a parser of its own
    own_parsers = ("paced_service.py", "oracle_service.py")
    options = {
        option
        for path in (ROOT / "emu_planner" / "cli").glob("*.py")
        if path.name not in own_parsers
        for option in re.findall(r'add_argument\(\s*"(--[a-z][a-z-]*)"', path.read_text())
    }
    assert len(options) > 60
    assert not {option for option in options if not re.search(rf"{option}\b", page)}


def test_every_metric(reference):
    metrics = Metrics()
    metrics.watch(ServiceState(ServiceConfig(), RunSlots(1)))
    names = {family.name for family in metrics.registry.collect()}
    told = {name.removesuffix("_total") for name in ROW.findall(reference["metrics.md"])}
    assert told == names
    for name, label in (("plans", "reason"), ("tokens", "kind"), ("seconds", "phase")):
        assert f"| `emu_planner_{name}_total` | counter | `{label}` |" in reference["metrics.md"]


@pytest.mark.parametrize("name", settings.CLASSES)
def test_every_field_of_the_settings_says_what_it_is(name, reference):
    module, text = settings.find(name)
    assert f"## {module}.{name}\n" in reference["settings.md"]
    about, rows = settings.fields(text, name)
    assert about
    assert rows
    assert all(meaning for *_, meaning in rows)


def test_a_table_of_a_cell_too_few_is_refused():
    from tools.reference.markdown import table

    with pytest.raises(ValueError, match="1 cells in a table of 2"):
        table(("a", "b"), [("only",)])
