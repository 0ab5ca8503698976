"""The settings of a program that uses the package: frozen dataclasses, and the comment above each field."""

import ast

from tools.reference.markdown import ROOT, code, plain, table

CLASSES = (
    "ServiceConfig",
    "ClientConfig",
    "ImageConfig",
    "Generation",
    "PlannerConfig",
    "JacobiConfig",
    "SchedulerConfig",
    "WebConfig",
)


def page() -> str:
    """The whole page."""
    parts = ["# Settings in Python\n\n`PlannerConfig` is also `planner.json` of a checkpoint folder.\n"]
    for name in CLASSES:
        module, text = find(name)
        about, rows = fields(text, name)
        heading = f"## {module}.{name}"
        parts.append(f"{heading}\n\n{plain(about)}\n\n{table(('field', 'type', 'default', 'meaning'), rows)}")
    return "\n".join(parts)


def find(name: str) -> tuple[str, str]:
    """The module of a class, and its source. KeyError: no module has one of that name."""
    for path in sorted((ROOT / "emu_planner").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"\nclass {name}:" in text:
            return ".".join(path.relative_to(ROOT).with_suffix("").parts), text
    raise KeyError(f"no module of emu_planner has a class {name}")


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
