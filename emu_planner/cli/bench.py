"""`emu-planner bench SUITE|latency|recorded`: measure a planner. A composition root."""

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from emu_planner.cli import bench_recorded
from emu_planner.cli.arguments import positive
from emu_planner.cli.processes import Children, free_port
from emu_planner.cli.record import DemoError
from emu_planner.cli.service import wait_for_service
from emu_planner.plan import (
    Generation,
    KeyframeProgress,
    PlanComplete,
    PlanError,
    StepComplete,
    Still,
    Task,
    TextDelta,
)
from emu_planner.plan.planner import Planner
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.credentials import Credentials
from sim.baselines import CopyLastFrame, TextOnly
from sim.benchmark import (
    Job,
    SceneName,
    WorkerError,
    read_rows,
    read_suite,
    row,
    score_ceiling,
    score_scene,
)
from sim.benchmark import (
    run as run_jobs,
)
from sim.camera import VIEWS
from sim.oracle import OraclePlanner
from sim.summary import Share, by_family, summarise, summarise_ceiling
from sim.world import World

if TYPE_CHECKING:
    from emu_planner.engine.planner import EmuPlanner
    from emu_planner.model.ibq import VisionTokenizer

PLANNERS = ("nano", "copy-last-frame", "text-only", "oracle")
_CEILING = "tokenizer ceiling"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument(
        "what",
        help="a suite of scenes (quick); latency: times and memory over a real service; "
        "recorded: keyframes beside a recording",
    )
    bench_recorded.add_arguments(parser.add_argument_group("recorded"))
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id (default: nano)")
    parser.add_argument("--planners", default=",".join(PLANNERS), help="comma-separated, of: %(default)s")
    parser.add_argument("--scenes", type=positive, help="only the suite's first N scenes")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="processes")
    parser.add_argument("--runs", type=positive, default=20, help="plans to time (latency)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench"), help="rows and table; a run that was cut goes on"
    )


def run(args: argparse.Namespace) -> int:
    """Measure; 0 when every job was done, 1 when a process died, 2 for wrong arguments."""
    console = Console()
    try:
        if args.what == "latency":
            return bench_latency(args, console)
        if args.what == "recorded":
            return bench_recorded.run(args, console)
        return bench_suite(args, console)
    except ValueError as error:
        console.print(f"emu-planner bench: {error}", style="red", markup=False)
        return 2
    except (DemoError, PlanError, WorkerError) as error:
        console.print(f"emu-planner bench: {error}", style="red", markup=False)
        return 1


def bench_suite(args: argparse.Namespace, console: Console) -> int:
    """Every planner on every scene of a suite, and the tokenizer's ceiling."""
    from emu_planner.model.checkpoint import resolve

    scenes = read_suite(args.what)[: args.scenes]
    names = [name.strip() for name in args.planners.split(",")]
    if unknown := set(names) - set(PLANNERS):
        raise ValueError(f"unknown planners {sorted(unknown)}; have {list(PLANNERS)}")
    # before any worker starts: a wrong name ends here, and one on the hub is downloaded once
    resolve(args.checkpoint)
    model = Path(args.checkpoint).name
    jobs: list[Job] = [(name, scene) for scene in scenes for name in [*names, _CEILING]]
    rows_file = args.out / f"{Path(args.what).stem}-{model}.jsonl"
    start = functools.partial(_start_worker, args.checkpoint)
    with Progress(console=console) as progress:
        bar = progress.add_task(f"{args.what}, {len(scenes)} scenes", total=len(jobs))
        for done, _ in run_jobs(jobs, start, rows_file, workers=args.workers):
            progress.update(bar, completed=done)
    asked = {f"{name} {scene}" for name, scene in jobs}
    results = [job for job in read_rows(rows_file) if job["job"] in asked]
    _show(results, names, console)
    console.print(f"rows: {rows_file}")
    return 0


def _show(results: list[dict], names: list[str], console: Console) -> None:
    """Tables of shares and errors: per planner, per family, and the ceiling."""
    rows = {
        name: [r for job in results if job["job"].startswith(f"{name} ") for r in job["rows"]]
        for name in [*names, _CEILING]
    }
    summaries = {name: summarise(rows[name]) for name in names}
    table = Table("figure", *names, title="planners on held-out scenes (95% intervals)")
    for figures in zip(*summaries.values(), strict=True):
        table.add_row(figures[0].name, *map(str, figures))
    console.print(table)
    families = Table("family", *names, title="task success, closed loop")
    grouped = {name: by_family(rows[name]) for name in names}
    for family in grouped[names[0]]:
        families.add_row(
            family,
            *(
                str(Share("", sum(r["closed_loop_success"] for r in group[family]), len(group[family])))
                for group in grouped.values()
            ),
        )
    console.print(families)
    ceiling = Table("figure", "value", title="the tokenizer's ceiling: real keyframes through it")
    for figure in summarise_ceiling(rows[_CEILING]):
        ceiling.add_row(figure.name, str(figure))
    console.print(ceiling)


def _start_worker(checkpoint: str) -> Callable[[Job], list[dict]]:
    """In a worker process, on one thread: each part of the model is loaded when a job first needs it."""
    import torch

    from emu_planner.engine.picture import decode, encode
    from emu_planner.engine.planner import EmuPlanner
    from emu_planner.model.checkpoint import load_vision_tokenizer, resolve

    torch.set_num_threads(1)
    world = World()

    @functools.cache
    def model() -> "EmuPlanner":
        return EmuPlanner.load(checkpoint)

    @functools.cache
    def planner(name: str) -> Planner:
        makers: dict[str, Callable[[], Planner]] = {
            "nano": model,
            "oracle": lambda: OraclePlanner(world),
            "copy-last-frame": lambda: CopyLastFrame(OraclePlanner(world)),
            "text-only": lambda: TextOnly(model()),
        }
        return makers[name]()

    @functools.cache
    def vision() -> "VisionTokenizer":
        return load_vision_tokenizer(resolve(checkpoint))

    def round_trip(picture: np.ndarray) -> np.ndarray:
        return decode(vision(), encode(vision(), picture), VIEWS).rgb

    def work(job: Job) -> list[dict]:
        name, scene = job
        if name == _CEILING:
            return [row(score) for score in score_ceiling(world, round_trip, scene)]
        return [row(score_scene(world, planner(name), name, scene))]

    return work


def bench_latency(args: argparse.Namespace, console: Console) -> int:
    """Time whole plans over a service in a process of its own, from a fresh scene each."""
    server = f"127.0.0.1:{free_port()}"
    words = ("serve", "--port", server.rpartition(":")[2], "--checkpoint", args.checkpoint)
    with Children(args.out / "logs", {}) as children:
        children.start("service", "emu_planner.cli.main", *words)
        wait_for_service(server, children, console)
        scenes = [SceneName("stack", 1_000_100_000 + index) for index in range(args.runs)]
        with RemotePlanner(server, ClientConfig(credentials=Credentials.from_environment())) as planner:
            times = [_time_plan(planner, scene) for scene in scenes]
        memory_mb = psutil.Process(children.processes["service"].pid).memory_info().rss / 1e6
    table = Table(
        "figure", "median", "min", "max", title=f"{args.runs} plans over gRPC, {os.cpu_count()} cores"
    )
    # a plan that ends early lacks some
    for name in max(times, key=len):
        values = [t[name] for t in times if name in t]
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    table.add_row("memory of the service, MB", f"{memory_mb:.0f}", "", "")
    console.print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "latency.json").write_text(json.dumps({"runs": times, "service_mb": memory_mb}, indent=1))
    return 0


def _time_plan(planner: Planner, scene: SceneName) -> dict[str, float]:
    """Seconds from the call to the first words, first subgoal, first keyframe and the plan's end."""
    with World() as world:
        world.reset(scene.family, scene.seed, scene.robot)
        task = Task(world.scene.instruction, Generation(seed=scene.seed))
        frames = Still(world.observation())
    begun_s = time.monotonic()
    marks: dict[str, float] = {}
    steps = 0
    for event in planner.plan(task, frames):
        now_s = time.monotonic() - begun_s
        match event:
            case TextDelta():
                marks.setdefault("first words, s", now_s)
            case KeyframeProgress():
                marks.setdefault("first subgoal whole, s", now_s)
            case StepComplete():
                marks.setdefault("first keyframe, s", now_s)
                steps += 1
            case PlanComplete():
                marks["whole plan, s"] = now_s
            case _:
                pass
    return {**marks, "steps": float(steps)}
