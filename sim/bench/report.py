"""One HTML page of a run: tables, intervals, plots, and scenes in pictures with each point lost.

Everything is in the one file: no network, no script. The rows lie beside it.
"""

import base64
import contextlib
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.bench.controls import CONTROLS
from sim.bench.explain import Shown, explain
from sim.bench.kept_plans import kept_plan
from sim.bench.metrics import SCORED, VECTOR
from sim.bench.suite import SceneName
from sim.bench.summary import Mean, by_family, summarise, summarise_ceiling, vector
from sim.bench.svg import Dot, dots
from sim.bench.trail import Trail
from sim.statistics import bootstrap_mean
from sim.world import World

_SCENES_EACH = 2  # of the best, of the worst, at random
_COLUMNS = ("before", "predicted", "decoded", "feasible", "executed")
_STYLE = """
:root { --ink: #202124; --faint: #75777d; --paper: #faf9f6; --card: #fff; --line: #e4e2dc;
  --strong: #7e4abe; --plain: #8a8f98; --bad: #c42b1c }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9ea; --faint: #9a9ca3; --paper: #17181a;
  --card: #202124; --line: #34363a; --strong: #b794f4; --plain: #8a8f98; --bad: #ff8a7a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1280px; padding: 2rem 1.5rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .8rem 1.2rem 1.2rem; margin: 1rem 0; overflow-x: auto }
h1 { margin: 0 } h2 { font-size: 1.15rem; margin: .2rem 0 .6rem } h3 { font-size: 1rem; margin: 1rem 0 .2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left; white-space: nowrap }
tr.own td { font-weight: 600 } .faint { color: var(--faint) } .bad { color: var(--bad); font-weight: 600 }
svg { max-width: 780px; width: 100%; height: auto; display: block; margin: .8rem 0 }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) } svg text.title { font-weight: 600 }
svg text.faint { fill: var(--faint) } svg .grid { stroke: var(--line) }
svg .span { stroke-width: 3; opacity: .5 }
svg line.strong { stroke: var(--strong) } svg line.plain { stroke: var(--plain) }
svg circle.strong { fill: var(--strong) } svg circle.plain { fill: var(--plain) }
.sheet { display: grid; grid-template-columns: repeat(5, minmax(180px, 1fr)); gap: 6px;
  margin: .3rem 0 .8rem }
.sheet figure { margin: 0 } .sheet img { width: 100%; display: block; border-radius: 4px }
.sheet figcaption { color: var(--faint); font-size: .75rem }
.none { aspect-ratio: 2; background: var(--line); border-radius: 4px; display: grid; place-items: center;
  color: var(--faint); font-size: .75rem }
ul { margin: .2rem 0; padding-left: 1.2rem; font-size: .85rem } pre { font-size: .75rem; overflow-x: auto }
"""


def write(out: Path) -> Path:
    """The page of a run's folder, as index.html in it. ValueError: there is no run."""
    file = out / "results.json"
    if not file.is_file():
        raise ValueError(f"there is no {file}; run `emu-planner bench sim --out {out}` first")
    results = json.loads(file.read_text(encoding="utf-8"))
    page = out / "index.html"
    page.write_text(render(results, out / "plans"), encoding="utf-8")
    return page


def render(results: dict[str, Any], plans: Path) -> str:
    """The page as text."""
    own = results["planner"]["name"]
    title = f"{own} on suite {results['suite']['name']} {results['suite']['version']}"
    scored = {
        name: rows for name, rows in results["entrants"].items() if all(r["kind"] == "score" for r in rows)
    }
    skipped = sorted(set(results["entrants"]) - set(scored))
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=faint>{len(results['scenes'])} scenes. Means over all scenes; intervals are 95%, "
        "resampled by scene. What is missing counts as zero.</p>",
        _gate(results["gate"], own),
        _section("Metrics", _vector_table(scored, own) + _plots(scored, own)),
        _section("Figures", _figures_table(scored)),
        _section("Task success by family, closed loop", _family_table(scored, own)),
        _section("Controls", _controls(scored, skipped)),
    ]
    if results["ceiling"]:
        lines = [[figure.name, str(figure)] for figure in summarise_ceiling(results["ceiling"])]
        parts.append(_section("The tokenizer's ceiling: real keyframes through it", _table([], lines)))
    parts += [_section(title, body) for title, body in _sheets(scored[own], plans)]
    versions = {k: results[k] for k in ("suite", "planner", "plan_limit_s", "versions", "about")}
    parts.append(
        _section(
            "Versions",
            f"<pre>{html.escape(json.dumps(versions, indent=1))}</pre>"
            "<p class=faint>Rows: rows.jsonl, results.json beside this page. Formulas: docs/metrics.md.</p>",
        )
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


# ---- tables and plots


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def _table(head: list[str], lines: list[list[str]], strong: str = "") -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    rows = "".join(
        f"<tr{' class=own' if line[0] == strong else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in line)
        + "</tr>"
        for line in lines
    )
    return f"<table>{f'<tr>{cells}</tr>' if head else ''}{rows}</table>"


def _gate(gate: dict[str, Any], own: str) -> str:
    told = "pictures are scored" if gate["passed"] else f"pictures of {own} are not scored"
    kind = "" if gate["passed"] else " class=bad"
    return _section("Gate", f"<p{kind}>{html.escape(told)}: {html.escape(gate['why'])}</p>")


def _vector_table(scored: dict[str, list[dict]], own: str) -> str:
    lines = [[name, *(mean.short for mean in vector(rows))] for name, rows in scored.items()]
    return _table(["planner", *(n.replace("_", " ") for n in VECTOR), "score"], lines, own)


def _plots(scored: dict[str, list[dict]], own: str) -> str:
    def dot(label: str, mean: Mean, *, strong: bool) -> Iterator[Dot]:
        value, low, high = bootstrap_mean(mean.clusters, samples=2000)
        if value == value:
            yield Dot(label, value, low, high, strong)

    score = [d for n, rows in scored.items() for d in dot(n, vector(rows)[-1], strong=n == own)]
    profile = [
        d
        for mean in vector(scored[own])
        for d in dot(mean.name.replace("_", " "), mean, strong=mean.name == "score")
    ]
    families = [
        d
        for family, rows in by_family(scored[own]).items()
        for d in dot(family, vector(rows)[-1], strong=True)
    ]
    named = (
        ("score, all entrants", score),
        (f"{own}: every metric", profile),
        (f"{own}: score by family", families),
    )
    return "".join(dots(title, values) for title, values in named if values)


def _figures_table(scored: dict[str, list[dict]]) -> str:
    lines = zip(*(summarise(rows) for rows in scored.values()), strict=True)
    return _table(["figure", *scored], [[line[0].name, *map(str, line)] for line in lines])


def _family_table(scored: dict[str, list[dict]], own: str) -> str:
    families = list(by_family(scored[own]))
    lines = []
    for name, rows in scored.items():
        grouped = by_family(rows)
        done = [sum(r["metrics"]["success_closed"] == 1 for r in grouped[f]) for f in families]
        lines.append([name, *(f"{n} of {len(grouped[f])}" for n, f in zip(done, families, strict=True))])
    return _table(["planner", *families], lines, own)


def _controls(scored: dict[str, list[dict]], skipped: list[str]) -> str:
    lines = [[name, CONTROLS[name].about] for name in scored if name in CONTROLS]
    lines += [[name, f"not run: {CONTROLS[name].about}"] for name in skipped if name in CONTROLS]
    return _table([], lines)


# ---- scenes in pictures


def _sheets(rows: list[dict], plans: Path) -> Iterator[tuple[str, str]]:
    """Best, worst and random scenes of the planner."""
    order = sorted(rows, key=_rank)
    worst, best = order[:_SCENES_EACH], order[: -_SCENES_EACH - 1 : -1]
    rest = [row for row in rows if row not in worst and row not in best]
    picks = np.random.default_rng(0).permutation(len(rest))[:_SCENES_EACH]
    chosen = (
        ("Best scenes", best),
        ("Worst scenes", worst),
        ("Random scenes", [rest[int(i)] for i in picks]),
    )
    with World() as world:
        for title, some in chosen:
            if some:
                yield title, "".join(_scene(world, row, plans) for row in some)


def _rank(row: dict) -> tuple[float, float]:
    known = [row["metrics"][name] for name in SCORED if row["metrics"][name] is not None]
    return (row["score"] or 0.0, sum(known))


def _scene(world: World, row: dict, plans: Path) -> str:
    family, seed, robot = row["scene"].split("/")
    name = SceneName(family, int(seed), robot)
    score = "not scored" if row["score"] is None else f"{row['score']:.3f}"
    numbers = ", ".join(
        f"{key.replace('_', ' ')} {value:.2f}" for key, value in row["metrics"].items() if value is not None
    )
    why = "".join(f"<li>{html.escape(words)}</li>" for words in row["why"]) or "<li>no point lost</li>"
    body = [
        f"<h3>{html.escape(row['scene'])}: {html.escape(row['instruction'])} <span class=faint>score {score}"
        f"</span></h3><p class=faint>{numbers}</p><ul>{why}</ul>"
    ]
    with contextlib.closing(Trail(world, name)) as trail:
        steps = kept_plan(plans, name) or ()
        body += [_step(index, shown) for index, shown in enumerate(explain(trail, steps))]
    return "".join(body)


def _step(index: int, shown: Shown) -> str:
    figures = []
    for column in _COLUMNS:
        picture = getattr(shown, column)
        caption = f"{column}: {shown.read_as}" if column == "decoded" else column
        inner = (
            '<div class="none">none</div>'
            if picture is None
            else f'<img alt="{column}" src="{_inline(picture)}">'
        )
        figures.append(f"<figure>{inner}<figcaption>{html.escape(caption)}</figcaption></figure>")
    return f"<div>{index + 1}. {html.escape(shown.subgoal)}</div><div class=sheet>{''.join(figures)}</div>"


def _inline(rgb: NDArray[np.uint8]) -> str:
    ok, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError(f"OpenCV cannot write a JPEG of shape {rgb.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
