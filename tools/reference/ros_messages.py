"""The messages, services and actions of emu_planner_msgs, read by ROS's own parser of their files."""

from typing import Any

from rosidl_adapter.parser import parse_action_file, parse_message_file, parse_service_file

from tools.reference.markdown import ROOT, code, plain, table

PACKAGE = "emu_planner_msgs"


def page() -> str:
    """The whole page."""
    parts = [
        f"# ROS messages\n\nThe package `{PACKAGE}` (`msgs/`), built by colcon; headings leave it out.\n"
    ]
    for path in sorted((ROOT / "msgs" / "msg").glob("*.msg")):
        parts.append(_interface(path.stem, "msg", {"": parse_message_file(PACKAGE, str(path))}))
    for path in sorted((ROOT / "msgs" / "srv").glob("*.srv")):
        service = parse_service_file(PACKAGE, str(path))
        parts.append(_interface(path.stem, "srv", {"Request": service.request, "Response": service.response}))
    for path in sorted((ROOT / "msgs" / "action").glob("*.action")):
        action = parse_action_file(PACKAGE, str(path))
        sections = {"Goal": action.goal, "Result": action.result, "Feedback": action.feedback}
        parts.append(_interface(path.stem, "action", sections))
    return "\n".join(parts)


def _interface(name: str, kind: str, sections: dict[str, Any]) -> str:
    text = f"## {kind}/{name}\n"
    for title, message in sections.items():
        about = _comment(message)
        text += (f"\n### {name}: {title}\n" if title else "") + (f"\n{about}\n" if about else "")
        if message.constants:
            rows = [(code(c.name), code(c.type), code(c.value), _comment(c)) for c in message.constants]
            text += "\n" + table(("constant", "type", "value", "meaning"), rows)
        if message.fields:
            rows = [(code(f.name), code(f.type), _default(f), _comment(f)) for f in message.fields]
            text += "\n" + table(("field", "type", "default", "meaning"), rows)
        elif not message.constants:
            text += "\nEmpty.\n"
    return text


def _default(field: Any) -> str:
    return "" if field.default_value is None else code(field.default_value)


def _comment(what: Any) -> str:
    return plain(" ".join(what.annotations.get("comment", ())))
