"""Definitions of message types, to be put into a bag: with them a file explains itself.

Text as `ros2 bag record` writes it, which keeps comments and constants: the type's own, then each
type that it uses, after a line of 80 "=" and "MSG: package/Name". Read from what the packages
installed, so it is what the messages were built from. Knows no file format and no topic.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

from emu_planner.bags.write import Definition

_SEPARATOR = "=" * 80
_BETWEEN_PARTS = re.compile(r"^---\s*$", re.MULTILINE)
# the type of a field, without what makes it an array; a constant has an = after its name
_FIELD = re.compile(
    r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[(?:<=)?\d*\])?\s+[A-Za-z]\w*\s*(?![\w\s]*=)", re.MULTILINE
)
_PLAIN = frozenset(
    [
        "bool",
        "byte",
        "char",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "string",
        "wstring",
    ]
)
# what an action's services are made of (design.ros2.org/articles/actions.html)
_OF_ACTIONS = {
    "SendGoal_Request": "unique_identifier_msgs/UUID goal_id\n{0}_Goal goal\n",
    "SendGoal_Response": "bool accepted\nbuiltin_interfaces/Time stamp\n",
    "GetResult_Request": "unique_identifier_msgs/UUID goal_id\n",
    "GetResult_Response": "int8 status\n{0}_Result result\n",
}
_EVENT = (
    "service_msgs/ServiceEventInfo info\n{0}_Request[<=1] request\n{0}_Response[<=1] response\n"  # REP 2012
)


@cache
def define(kind: Any) -> Definition:
    """The definition of a message class. FileNotFoundError: its package installed no definitions."""
    package, folder, _ = kind.__module__.split(".", 2)
    text, found, waiting = _text(package, folder, kind.__name__), set(), [(package, folder, kind.__name__)]
    parts = [text]
    while waiting:
        package, folder, name = waiting.pop(0)
        for used in _used(package, folder, _text(package, folder, name)):
            if used not in found:
                found.add(used)
                waiting.append(used)
                parts.append(f"{_SEPARATOR}\nMSG: {used[0]}/{used[2]}\n{_text(*used)}")
    package, folder, _ = kind.__module__.split(".", 2)
    return Definition(f"{package}/{folder}/{kind.__name__}", "\n".join(parts), _digest(kind))


def _used(package: str, folder: str, text: str) -> list[tuple[str, str, str]]:
    """(package, folder, name) of each type that a text uses."""
    found = []
    for line in text.splitlines():
        field = _FIELD.match(line.partition("#")[0])
        if field is None or field[1] in _PLAIN:
            continue
        owner, _, name = field[1].rpartition("/")
        owner = owner.partition("/")[0] or package
        is_message = (_share(owner) / "msg" / f"{name}.msg").exists()
        found.append((owner, "msg" if is_message else folder, name))
    return found


def _text(package: str, folder: str, name: str) -> str:
    share = _share(package) / folder
    if folder == "msg":
        return (share / f"{name}.msg").read_text()
    base, _, part = name.partition("_")
    if part.endswith("Event"):
        return _EVENT.format(f"{package}/{name.removesuffix('_Event')}")
    if part in _OF_ACTIONS:
        return _OF_ACTIONS[part].format(f"{package}/{base}")
    names = ("Request", "Response") if folder == "srv" else ("Goal", "Result", "Feedback")
    return _BETWEEN_PARTS.split((share / f"{base}.{folder}").read_text())[names.index(part)].strip() + "\n"


def _digest(kind: Any) -> str:
    package, folder, _ = kind.__module__.split(".", 2)
    base = kind.__name__.partition("_")[0] if folder != "msg" else kind.__name__
    described = json.loads((_share(package) / folder / f"{base}.json").read_text())
    name = f"{package}/{folder}/{kind.__name__}"
    return next(str(e["hash_string"]) for e in described["type_hashes"] if e["type_name"] == name)


@cache
def _share(package: str) -> Path:
    return Path(get_package_share_directory(package))
