"""`emu-planner bench compare A.json B.json ...`: planners on the same scenes, paired."""

import argparse
import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sim.bench.compare import MARGIN, METRICS, Pair, Rating, check_comparable, compare, rate, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument(
        "results", nargs="+", help="results.json of a run or its folder; FILE#CONTROL for a control of it"
    )
    parser.add_argument("--metric", default="score", choices=METRICS, help="default: %(default)s")
    parser.add_argument(
        "--margin", type=float, default=MARGIN, help="a scene is won by more than this (default: %(default)g)"
    )
    parser.add_argument("--json", type=Path, help="write all figures here")


def run(args: argparse.Namespace, console: Console) -> int:
    """Compare all pairs; rate three or more."""
    if len(args.results) < 2:
        raise ValueError("two results files or more are needed to compare")
    if args.margin < 0:
        raise ValueError(f"margin is {args.margin}; expected 0 or more")
    entrants = [read(word) for word in args.results]
    check_comparable(entrants)
    if len({entrant.name for entrant in entrants}) < len(entrants):
        entrants = [
            replace(entrant, name=f"{entrant.name} ({word})")
            for entrant, word in zip(entrants, args.results, strict=True)
        ]
    pairs = [compare(a, b, args.metric, args.margin) for a, b in itertools.combinations(entrants, 2)]
    scenes = len(entrants[0].rows)
    console.print(_pair_table(pairs, f"{args.metric}, {scenes} scenes, margin {args.margin:g}"))
    ratings = rate(entrants, args.metric, args.margin) if len(entrants) > 2 else []
    if ratings:
        console.print(_rating_table(ratings))
    if args.json is not None:
        data = {
            "metric": args.metric,
            "margin": args.margin,
            "scenes": scenes,
            "pairs": [asdict(pair) for pair in pairs],
            "ratings": [asdict(rating) for rating in ratings],
        }
        args.json.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0


def _pair_table(pairs: list[Pair], title: str) -> Table:
    """One column a pair: the first of its name against the second."""
    table = Table("figure", *(f"{p.first} against {p.second}" for p in pairs), title=title)
    lines = {
        "win / tie / loss": [f"{p.wins} / {p.ties} / {p.losses}" for p in pairs],
        "win share, ties half": [f"{100 * p.win_share:.1f}%" for p in pairs],
        "  Wilson 95%": [_percent(p.wilson) for p in pairs],
        "  bootstrap 95%, scenes within families": [_percent(p.bootstrap) for p in pairs],
        "mean difference": [f"{p.difference:+.3f}" for p in pairs],
        "  bootstrap 95%, scenes within families ": [
            f"{p.difference_interval[0]:+.3f} to {p.difference_interval[1]:+.3f}" for p in pairs
        ],
        "task done by one only, closed loop": [_discordant(p.closed) for p in pairs],
        "task done by one only, open loop": [_discordant(p.opened) for p in pairs],
    }
    for name, cells in lines.items():
        table.add_row(name, *cells)
    return table


def _rating_table(ratings: list[Rating]) -> Table:
    table = Table("planner", "strength", "bootstrap 95%", title="Bradley-Terry, 400 points are odds of 10")
    for rating in sorted(ratings, key=lambda r: -r.strength):
        low, high = rating.interval
        told = "fixed" if low == high == 1000 else f"{low:.0f} to {high:.0f}"
        table.add_row(rating.name, f"{rating.strength:.0f}", told)
    return table


def _percent(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}%"


def _discordant(pair: tuple[int, int, float]) -> str:
    return f"{pair[0]} and {pair[1]}, exact McNemar p = {pair[2]:.3g}"
