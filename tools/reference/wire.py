"""The gRPC messages of planner.proto, with their comments.

Read from the text, since comments are not in the generated code; the tests hold the page against its
descriptor.
"""

import re
from dataclasses import dataclass, field

from tools.reference.markdown import code, plain, source, table

FILE = "emu_planner/wire/planner.proto"

_OPEN = re.compile(r"^(message|enum|service)\s+(\w+)\s*\{(.*)$")
_FIELD = re.compile(r"([\w.]+(?:<[^>]*>)?(?:\s+[\w.]+)?)\s+(\w+)\s*=\s*(\d+)\s*;")
_VALUE = re.compile(r"^\s*(\w+)\s*=\s*(\d+)\s*;")
_CALL = re.compile(r"rpc\s+(\w+)\s*\(([^)]*)\)\s*returns\s*\(([^)]*)\)")


@dataclass
class Block:
    """A message, an enum or the service, and its rows of the table."""

    kind: str
    name: str
    about: str
    rows: list[tuple[str, ...]] = field(default_factory=list)


def page() -> str:
    """The whole page."""
    blocks, opening = read(source(FILE))
    parts = [f"# gRPC messages\n\n`{FILE}`, package `emu.planner.v1`.\n\n{plain(opening)}\n"]
    heads = {
        "service": ("call", "request", "response", "meaning"),
        "message": ("field", "type", "number", "meaning"),
        "enum": ("value", "number", "meaning"),
    }
    for block in blocks:
        about = f"\n{plain(block.about)}\n" if block.about else ""
        content = table(heads[block.kind], block.rows) if block.rows else "Empty.\n"
        parts.append(f"## {block.kind} {block.name}\n{about}\n{content}")
    return "\n".join(parts)


def read(text: str) -> tuple[list[Block], str]:
    """All blocks in their order, and the words at the head of the file."""
    blocks: list[Block] = []
    said: list[str] = []
    opening, current = "", None
    for line in text.splitlines():
        content, _, comment = line.partition("//")
        if not content.strip():
            said = [*said, comment.strip()] if comment else said
            continue
        if content.startswith("package"):
            opening, said = " ".join(said), []
        start = _OPEN.match(content)
        if start:
            kind, name, rest = start.groups()
            current = Block(kind, name, " ".join([*said, comment.strip()]))
            blocks.append(current)
            current.rows += _rows(kind, rest, "")
        elif current is not None:
            current.rows += _rows(current.kind, content, " ".join([*said, comment.strip()]))
        said = []
    return blocks, opening


def _rows(kind: str, text: str, comment: str) -> list[tuple[str, ...]]:
    about = plain(comment)
    if kind == "service":
        return [(code(name), code(asked), code(told), about) for name, asked, told in _CALL.findall(text)]
    if kind == "enum":
        return [(code(name), number, about) for name, number in _VALUE.findall(text)]
    return [
        (code(name), code(" ".join(of.split())), number, about) for of, name, number in _FIELD.findall(text)
    ]
