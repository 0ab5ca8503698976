"""Tables of a run of the benchmark, for a terminal. The whole, with plots, is on the page."""

import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from sim.bench.controls import SHORT
from sim.bench.summary import Share, by_family, summarise, summarise_ceiling, vector

# the two successes are among the figures
_HEADS = {
    "valid": "val",
    "executable": "exec",
    "configuration": "conf",
    "permanence": "perm",
    "background": "back",
    "feasible": "feas",
    "agreement": "agree",
    "progress_open": "p.op",
    "progress_closed": "p.cl",
    "score": "SCORE",
}


def show(results_file: Path, console: Console) -> None:
    """What a planner and its controls came to: vector, figures, families, ceiling, gate."""
    results = json.loads(results_file.read_text(encoding="utf-8"))
    own = results["planner"]["name"]
    entrants = {
        name: rows
        for name, rows in results["entrants"].items()
        if rows and all(row["kind"] == "score" for row in rows)
    }
    few = {name: rows for name, rows in entrants.items() if name == own or name in SHORT}
    console.print(_vectors(entrants))
    figures = Table("figure", *few, title="planners on held-out scenes (95% intervals)", box=box.SIMPLE)
    for line in zip(*(summarise(rows) for rows in few.values()), strict=True):
        figures.add_row(line[0].name, *map(str, line))
    console.print(figures)
    families = Table("family", *few, title="task success, closed loop", box=box.SIMPLE)
    for family in by_family(entrants[own]):
        parts = [by_family(rows)[family] for rows in few.values()]
        hits = [sum(row["metrics"]["success_closed"] == 1 for row in rows) for rows in parts]
        families.add_row(family, *(str(Share("", n, len(rows))) for n, rows in zip(hits, parts, strict=True)))
    console.print(families)
    if results["ceiling"]:
        ceiling = Table(
            "figure", "value", title="the tokenizer's ceiling: real keyframes through it", box=box.SIMPLE
        )
        for figure in summarise_ceiling(results["ceiling"]):
            ceiling.add_row(figure.name, str(figure))
        console.print(ceiling)
    gate = results["gate"]
    style = "" if gate["passed"] else "yellow"
    told = "pictures are scored" if gate["passed"] else f"pictures of {own} are NOT scored"
    console.print(f"gate: {told}: {gate['why']}", style=style, markup=False)
    faults = [fault for row in entrants[own] for fault in row["faults"]]
    if faults:
        console.print(f"{len(faults)} faults of {own}, first: {faults[0]}", style="yellow", markup=False)


def _vectors(entrants: dict[str, list[dict]]) -> Table:
    """One row an entrant, one column a metric: means over all scenes; fits 80 columns."""
    title = "metrics, means over scenes (docs/metrics.md)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    table.add_column("planner", min_width=17, overflow="fold")
    for name in _HEADS:
        table.add_column(_HEADS[name], no_wrap=True, justify="right")
    for entrant, rows in entrants.items():
        means = {mean.name: mean.short for mean in vector(rows)}
        table.add_row(entrant, *(means[name] for name in _HEADS))
    return table
