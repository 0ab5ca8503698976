"""`emu-planner bench WHAT`: measure plans, see _WHAT. A composition root."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from emu_planner.cli import (
    bench_compare,
    bench_engine,
    bench_latency,
    bench_load,
    bench_planners,
    bench_progress,
    bench_recorded,
    bench_tables,
)
from emu_planner.cli.arguments import positive
from emu_planner.cli.record import DemoError
from emu_planner.plan import PlanError
from sim.bench import report, scene_bag
from sim.bench.controls import CONTROLS, SHORT
from sim.bench.evaluate import Setup, evaluate
from sim.bench.runner import WorkerError
from sim.bench.suite import read_suite
from sim.bench.supervisor import Limits

_WHAT = {
    "sim": "one planner and its controls on a suite of held-out scenes",
    "quick": "the same, short: suite quick, nano, and the controls that its figures stand beside",
    "compare": "two or more results files, paired by scene",
    "report": "one HTML page of a run, and its rows",
    "latency": "times and memory of plans over a real service",
    "engine": "tokens a second of a model with random weights, beside what the device allows",
    "load": "many clients on one service, to its limit and past it; with --soak, for long",
    "recorded": "a plan's keyframes beside a recording of what really happened",
    "progress": "how often a live picture is judged wrongly against a keyframe",
}
_PLANNER = "nano, a checkpoint folder, a hub id, grpc://HOST:PORT, MODULE:CALLABLE, or a control"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parsers = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    made = {name: parsers.add_parser(name, help=about, description=about) for name, about in _WHAT.items()}
    for name in ("sim", "quick"):
        _add_run_arguments(made[name], name)
    bench_compare.add_arguments(made["compare"])
    made["report"].add_argument("out", type=Path, help="folder of a run of `bench sim`")
    made["report"].add_argument(
        "--mcap", metavar="SCENE", action="append", default=[],
        help="write a bag of this scene too, FAMILY/SEED/ROBOT; may be given again",
    )  # fmt: skip
    bench_latency.add_arguments(made["latency"])
    bench_engine.add_arguments(made["engine"])
    bench_load.add_arguments(made["load"])
    bench_recorded.add_arguments(made["recorded"])
    bench_progress.add_arguments(made["progress"])


def _add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    controls = ",".join(SHORT if name == "quick" else CONTROLS)
    parser.add_argument("--suite", default="quick", help="its name, or a .json file (default: %(default)s)")
    parser.add_argument("--planner", "--checkpoint", default="nano", help=f"{_PLANNER} (%(default)s)")
    parser.add_argument(
        "--vision",
        help="checkpoint whose tokenizer made the pictures (its own), or none",
    )
    parser.add_argument("--controls", default=controls, help="comma-separated (default: %(default)s)")
    parser.add_argument("--scenes", type=positive, help="only the suite's first N scenes")
    parser.add_argument(
        "--workers", type=positive, help="processes (1, Ray: one a machine; for a control one a core)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="work on a Ray cluster: HOST:PORT, auto, or local for one here"
    )
    parser.add_argument(
        "--plan-limit", type=float, default=Limits().plan_s, help="s for a plan (%(default)g)"
    )
    parser.add_argument("--start-limit", type=float, default=Limits().start_s, help="s to load (%(default)g)")
    parser.add_argument("--data", type=Path, help="training episodes, for the control nearest-neighbour")
    parser.add_argument("--out", type=Path, help="folder (out/bench/SUITE-PLANNER); a run goes on")


def run(args: argparse.Namespace) -> int:
    """Measure; 0 when every job was done, 1 when a process died, 2 for wrong arguments."""
    console = Console()
    try:
        match args.what:
            case "latency":
                return bench_latency.bench_latency(args, console)
            case "engine":
                return bench_engine.run(args, console)
            case "load":
                return bench_load.bench_load(args, console)
            case "recorded":
                return bench_recorded.run(args, console)
            case "progress":
                return bench_progress.run(args, console)
            case "compare":
                return bench_compare.run(args, console)
            case "report":
                console.print(f"page: {report.write(args.out)}", soft_wrap=True, markup=False)
                for scene in args.mcap:
                    bag = scene_bag.write(args.out, scene)
                    console.print(f"bag: {bag}", soft_wrap=True, markup=False)
                return 0
            case _:
                return bench_sim(args, console)
    except ValueError as error:
        console.print(f"emu-planner bench: {error}", style="red", markup=False)
        return 2
    except (DemoError, PlanError, WorkerError) as error:
        console.print(f"emu-planner bench: {error}", style="red", markup=False)
        return 1


def bench_sim(args: argparse.Namespace, console: Console) -> int:
    """One planner and its controls on a suite; tables at the end, and the page."""
    suite = read_suite(args.suite).first(args.scenes)
    planner = bench_planners.find(args.planner, args.vision)
    controls = tuple(name.strip() for name in args.controls.split(",") if name.strip())
    if args.data is None:
        controls = tuple(name for name in controls if name != "nearest-neighbour")
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in planner.name)
    setup = Setup(
        suite,
        planner.name,
        planner.make,
        planner.identity,
        controls,
        args.out or Path("out/bench") / f"{suite.name}-{safe}",
        Limits(start_s=args.start_limit, plan_s=args.plan_limit),
        planner.draws_pixels,
        args.data,
    )
    with Progress(console=console) as progress:
        bar = progress.add_task(f"{suite.name}, {len(suite.scenes)} scenes, {planner.name}", total=None)
        workers = args.workers or (planner.workers if args.ray is None else None)
        for done, total in evaluate(setup, workers=workers, ray=args.ray):
            progress.update(bar, completed=done, total=total)
    bench_tables.show(setup.out / "results.json", console)
    page = report.write(setup.out)
    for name, path in (("rows", setup.rows_file), ("results", setup.out / "results.json"), ("page", page)):
        console.print(f"{name}: {path}", soft_wrap=True, markup=False)
    return 0
