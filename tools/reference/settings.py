"""The settings of a program that uses the package: frozen dataclasses, and the comment above each field."""

import ast

from tools.reference.markdown import code, plain, source, table

CLASSES = (
    ("emu_planner/service/config.py", "ServiceConfig"),
    ("emu_planner/wire/client.py", "ClientConfig"),
    ("emu_planner/wire/images.py", "ImageConfig"),
    ("emu_planner/plan/planner.py", "Generation"),
    ("emu_planner/engine/config.py", "PlannerConfig"),
    ("emu_planner/engine/jacobi.py", "JacobiConfig"),
    ("emu_planner/engine/batcher.py", "SchedulerConfig"),
    ("emu_planner/console/app.py", "WebConfig"),
)


def page() -> str:
    """The whole page."""
    parts = ["# Settings in Python\n\n`PlannerConfig` is also `planner.json` of a checkpoint folder.\n"]
    for path, name in CLASSES:
        about, rows = fields(source(path), name)
        heading = f"## {path.removesuffix('.py').replace('/', '.')}.{name}"
        parts.append(f"{heading}\n\n{plain(about)}\n\n{table(('field', 'type', 'default', 'meaning'), rows)}")
    return "\n".join(parts)


def fields(text: str, name: str) -> tuple[str, list[tuple[str, str, str, str]]]:
    """The docstring's first line and the rows of a dataclass. KeyError: the file has none of that name."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            break
    else:
        raise KeyError(f"there is no class {name}")
    rows, about = [], ""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            # one comment may stand above several fields
            about = _above(lines, part.lineno) or about
            default = "" if part.value is None else ast.unparse(part.value)
            rows.append((code(part.target.id), code(ast.unparse(part.annotation)), code(default), about))
    return (ast.get_docstring(node) or "").partition("\n")[0], rows


def _above(lines: list[str], number: int) -> str:
    said: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.strip().startswith("#"):
            break
        said.insert(0, line.strip().lstrip("# "))
    return plain(" ".join(said))
