"""Draw a run's figures over its steps, as a picture for a page: SVG, by hand, without a plot library.

python -m tools.draw_curves runs/lm --out docs/curves.svg
python -m tools.draw_curves runs/a runs/b --figures loss,held_out reward --log --out out/both.svg

Reads RUN/log.jsonl of any training. A panel for each of --figures, whose names, by commas, share it;
by default for every figure that is no time, together with its held-out one. Runs differ by colour, figures
of a panel by dashes. Points are faint, a mean over the last --smooth of them is strong.
"""

import argparse
import html
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from emu_planner.cli.arguments import positive

# of one figure: (step, value) by step
Curve = list[tuple[int, float]]
# a run's curves by the figure's name
Run = dict[str, Curve]

_WIDTH, _HEIGHT, _COLUMNS = 400, 230, 2  # px of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 28, 26  # px between a panel's edge and its axes
_LEGEND = 26  # px
# colours that colour-blind people tell apart (Okabe and Ito 2008)
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("", "6 4", "2 3", "10 3 2 3")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}.faint{fill:#777;font-size:11px}"
    ".grid{stroke:#ddd}.raw{opacity:.25;stroke-width:1}.mean{stroke-width:1.8}path{fill:none}"
)
# beside a figure in its panel: what it is on data that is never learned from
_PARTNERS = ("held_out_{}", "check_first_subgoal_{}", "check_plan_{}")
_NO_CURVES = ("step", "rate")
_NO_CURVE_ENDS = ("_s", "_share", "_differs")


def read_run(folder: Path) -> Run:
    """The curves of RUN/log.jsonl. Of a step that a resumed run did again, what it found last.

    A last line without an end is still being written, or was when the run was killed; it is left out.

    Raises:
        ValueError: no run, or a line that is no figures.
    """
    path = folder / "log.jsonl"
    if not path.is_file():
        raise ValueError(f"{path} is not there; name the folder of a run (--out of emu-planner train)")
    found: dict[str, dict[int, float]] = {}
    whole, _, _ = path.read_text().rpartition("\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path}, line {number}: expected figures of a step, got {line[:80]!r}"
            ) from None
        for name, value in row.items():
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, {})[step] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}


def panels_of(runs: Sequence[Run]) -> list[list[str]]:
    """The panels by default: each figure with its partners, in the order of the log."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    shown = [n for n in names if n not in _NO_CURVES and not n.endswith(_NO_CURVE_ENDS)]
    panels: list[list[str]] = []
    taken: set[str] = set()
    for name in shown:
        own = [name, *(p.format(name) for p in _PARTNERS), *(["held_out"] if name == "loss" else [])]
        panel = [n for n in own if n in shown and n not in taken]
        is_partner = any(name == p.format(other) for p in _PARTNERS for other in shown)
        if panel and not is_partner and not (name == "held_out" and "loss" in shown):
            panels.append(panel)
            taken.update(panel)
    return panels


def draw(
    runs: dict[str, Run], panels: Sequence[Sequence[str]], *, smooth: int = 1, logarithmic: bool = False
) -> str:
    """An SVG of panels, a curve for each run and figure.

    Args:
        runs: by the name that the legend gives them.
        smooth: points in the strong mean; 1: the points themselves.
        logarithmic: the scale of values.

    Raises:
        ValueError: nothing to draw in a panel.
    """
    rows = -(-len(panels) // _COLUMNS)
    columns = min(_COLUMNS, len(panels))
    width, height = columns * _WIDTH, rows * _HEIGHT + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    x = 14.0
    for index, name in enumerate(runs):
        parts.append(f'<path d="M{x:.0f} 14h18" stroke="{_colour(index)}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 24:.0f}" y="18">{html.escape(name)}</text>')
        x += 44 + 7 * len(name)
    for index, panel in enumerate(panels):
        left, top = index % _COLUMNS * _WIDTH, index // _COLUMNS * _HEIGHT + _LEGEND
        parts.append(f'<g transform="translate({left} {top})">')
        parts += _panel(runs, panel, smooth, logarithmic)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(runs: dict[str, Run], figures: Sequence[str], smooth: int, logarithmic: bool) -> list[str]:  # noqa: FBT001
    """Axes and curves of one panel."""
    curves = [
        (run, figure, _drawable(curve, logarithmic))
        for run, held in enumerate(runs.values())
        for figure, name in enumerate(figures)
        if (curve := held.get(name))
    ]
    points = [point for *_, curve in curves for point in curve]
    if not points:
        raise ValueError(f"no run has figures of {', '.join(figures)} that can be drawn")
    last = max(step for step, _ in points) or 1
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        low, high = low - 0.5, high + 0.5
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        across = _LEFT + (right - _LEFT) * step / last
        return across, bottom - (bottom - _TOP) * (value - low) / (high - low)

    parts = [_legend(figures)]
    for value in ticks(low, high):
        y = place(0, value)[1]
        shown = f"{10**value:.3g}" if logarithmic else f"{value:g}"
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="faint">{shown}</text>')
    for step in ticks(0, last):
        x = place(step, low)[0]
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" class="faint">{step:g}</text>'
        )
    for run, figure, curve in curves:
        look = f'stroke="{_colour(run)}" stroke-dasharray="{_DASHES[figure % len(_DASHES)]}"'
        if smooth > 1:
            parts.append(f'<path d="{_path(place, curve)}" {look} class="raw"/>')
        parts.append(f'<path d="{_path(place, smoothed(curve, smooth))}" {look} class="mean"/>')
        if len(curve) == 1:
            x, y = place(*curve[0])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_colour(run)}"/>')
    return parts


def smoothed(curve: Curve, count: int) -> Curve:
    """Each value replaced by the mean of the last `count` up to it."""
    values = [value for _, value in curve]
    means = [
        sum(values[max(0, i + 1 - count) : i + 1]) / min(i + 1, max(1, count)) for i in range(len(values))
    ]
    return [(step, mean) for (step, _), mean in zip(curve, means, strict=True)]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within [low, high], at most `most` + 1; expects low < high."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _drawable(curve: Curve, logarithmic: bool) -> Curve:  # noqa: FBT001
    """The curve on its scale; what has no logarithm is left out."""
    return [(step, math.log10(v)) for step, v in curve if v > 0] if logarithmic else curve


def _legend(figures: Sequence[str]) -> str:
    """A panel's title: its figures, each after its dashes if there are several."""
    if len(figures) == 1:
        return f'<text x="{_LEFT}" y="18" class="title">{html.escape(figures[0])}</text>'
    parts, x = [], float(_LEFT)
    for index, name in enumerate(figures):
        # what all have in common is said once
        short = name.removesuffix(f"_{figures[0]}")
        parts.append(
            f'<path d="M{x:.0f} 14h18" stroke="#333" stroke-dasharray="{_DASHES[index % len(_DASHES)]}"/>'
            f'<text x="{x + 22:.0f}" y="18" class="title">{html.escape(short)}</text>'
        )
        x += 36 + 6.5 * len(short)
    return "".join(parts)


def _path(place: Callable[[float, float], tuple[float, float]], curve: Curve) -> str:
    return "M" + "L".join("{:.1f} {:.1f}".format(*place(*point)) for point in curve)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and draw; 0, or 2 for what cannot be drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, required=True, help="the picture, .svg")
    parser.add_argument("--figures", nargs="+", metavar="NAME,...", help="a panel each")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the runs (default: their folders')")
    parser.add_argument("--smooth", type=positive, default=1, metavar="POINTS", help="in a mean (default: 1)")
    parser.add_argument("--log", action="store_true", help="a logarithmic scale")
    args = parser.parse_args(argv)
    try:
        names = args.names or [folder.resolve().name for folder in args.runs]
        if len(set(names)) != len(args.runs):
            raise ValueError(f"{len(args.runs)} runs need as many different --names; got {names}")
        runs = {name: read_run(folder) for name, folder in zip(names, args.runs, strict=True)}
        panels = [group.split(",") for group in args.figures or ()] or panels_of(list(runs.values()))
        picture = draw(runs, panels, smooth=args.smooth, logarithmic=args.log)
    except ValueError as error:
        print(f"draw_curves: {error}")
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(picture)
    print(f"{args.out}: {len(panels)} panels")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
