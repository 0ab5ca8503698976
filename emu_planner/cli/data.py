"""`emu-planner data sim|lessons|export|verify`: write training episodes, hand them on, check them."""

import argparse
import json
import os
import sys
from pathlib import Path

from sim import card, data
from sim.lessons import TASKS
from sim.lessons import card as lessons_card
from sim.lessons import data as lessons
from sim.shards import Run, open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    actions = parser.add_subparsers(dest="action", required=True)
    about = "episodes by the simulator's oracle, from training seeds"
    sim = actions.add_parser("sim", help=about, description=about)
    data.add_arguments(sim)
    sim.set_defaults(do=_sim)
    about = "exact lessons for the tasks besides plans, from training seeds"
    lesson = actions.add_parser("lessons", help=about, description=about)
    lesson.add_argument("--out", required=True, help="folder for the shards")
    lesson.add_argument(
        "--tasks", default="all",
        help=f"all, or names with commas, which take turns: {', '.join(TASKS)} (default: %(default)s)",
    )  # fmt: skip
    lesson.add_argument("--episodes", type=int, default=1000, help="how many seeds")
    lesson.add_argument("--first-seed", type=int, default=0, help="training seeds are below 1000000000")
    lesson.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    lesson.set_defaults(do=_lessons)
    about = "episodes in another format, without loss; a call that was cut goes on"
    export = actions.add_parser("export", help=about, description=about)
    export.add_argument("--data", type=Path, required=True, help="folder of a finished run of data sim")
    export.add_argument("--format", required=True, help="webp, lerobot or mcap")
    export.add_argument("--out", type=Path, required=True, help="folder of the export")
    export.set_defaults(do=_export)
    about = "check every file by hash, and make records again from their seeds"
    verify = actions.add_parser("verify", help=about, description=about)
    verify.add_argument(
        "--data", type=Path, required=True, help="folder of a finished run of data sim or lessons"
    )
    verify.add_argument("--sample", type=int, help="make only N records again; 0: none (default: all)")
    verify.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    verify.add_argument(
        "--export", type=Path, nargs="+", default=[], help="exports of this run, to compare with it"
    )
    verify.set_defaults(do=_verify)


def run(args: argparse.Namespace) -> int:
    """Do it; 1 when `verify` found something wrong, 2 for wrong arguments or a damaged source."""
    try:
        status: int = args.do(args)
        return status
    except ValueError as error:
        print(f"emu-planner data: {error}", file=sys.stderr)
        return 2


def _sim(args: argparse.Namespace) -> int:
    status = data.run(args)
    print(f"card: {card.write(open_run(args.out))}")
    return status


def _lessons(args: argparse.Namespace) -> int:
    counts = lessons.write(
        args.out,
        episodes=args.episodes,
        tasks=args.tasks,
        first_seed=args.first_seed,
        workers=args.workers,
        log=lambda line: print(line, flush=True),
    )
    print(json.dumps(counts))
    print(f"card: {lessons_card.write(open_run(args.out))}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from sim.export.formats import export

    export(_plans(open_run(args.data)), args.format, args.out, print)
    print(f"{args.format} export of {args.data}: {args.out}")
    return 0


def _plans(run: Run) -> Run:
    """The run; ValueError: it is not of plans."""
    if run.holds_lessons:
        raise ValueError(f"{run.folder} holds lessons; only runs of data sim are exported")
    return run


def _verify(args: argparse.Namespace) -> int:
    from sim.export.formats import compare
    from sim.verify import verify

    run = open_run(args.data)
    check = verify(run, sample=args.sample, workers=args.workers, log=print)
    problems = list(check.problems)
    for folder in args.export:
        found = list(compare(run, folder))
        print(f"{folder}: {len(found)} differences from {args.data}")
        problems += found
    for problem in problems:
        print(f"PROBLEM {problem}")
    print(
        f"{check.records} records, {check.again} made again from their seeds, "
        f"{len(args.export)} exports compared: {len(problems)} problems"
    )
    return 1 if problems else 0
