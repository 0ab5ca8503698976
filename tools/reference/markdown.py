"""Tables and code for the pages of the reference."""

from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown of one line each. ValueError: a row has another number of cells."""
    lines = [_row(heads), _row(["---"] * len(heads))]
    for cells in rows:
        if len(cells) != len(heads):
            raise ValueError(f"a row of {len(cells)} cells in a table of {len(heads)}: {list(cells)}")
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """As code, in a cell or a sentence; nothing of nothing."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """Words of a source file, so that Markdown and HTML leave them as they are."""
    for sign in "\\`*_<>[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def source(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
