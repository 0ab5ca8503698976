"""Plots as inline SVG, by hand: no script, no font, no network. Knows numbers and labels only."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_ROW, _LEFT, _WIDTH, _RIGHT = 24, 210, 420, 130


@dataclass(frozen=True)
class Dot:
    """A value in [0, 1] with its interval; `strong` marks the one that the plot is about."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = False


def dots(title: str, values: Sequence[Dot]) -> str:
    """Values with their intervals, one a row, on a scale from 0 to 1."""
    height = _ROW * len(values) + 44
    size = f"0 0 {_LEFT + _WIDTH + _RIGHT} {height}"
    parts = [
        f'<svg viewBox="{size}" role="img" aria-label="{html.escape(title)}">',
        f'<text x="0" y="14" class="title">{html.escape(title)}</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + tick * _WIDTH
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{height - 16}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 3}" text-anchor="middle" class="faint">{tick:g}</text>')
    for index, dot in enumerate(values):
        y = 36 + index * _ROW
        low, value, high = (_LEFT + _WIDTH * min(max(v, 0.0), 1.0) for v in (dot.low, dot.value, dot.high))
        kind = "strong" if dot.strong else "plain"
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{html.escape(dot.label)}</text>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" class="span {kind}"/>',
            f'<circle cx="{value:.1f}" cy="{y}" r="5" class="{kind}"/>',
            f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 4}" class="faint">{dot.value:.3f} '
            f"({dot.low:.2f} to {dot.high:.2f})</text>",
        ]
    return "\n".join([*parts, "</svg>"])
