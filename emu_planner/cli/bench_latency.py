"""`emu-planner bench latency`: times and memory of plans over a real service in another process."""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from emu_planner.cli.arguments import positive
from emu_planner.cli.processes import Children, free_port
from emu_planner.cli.service import wait_for_service
from emu_planner.plan import Generation, KeyframeProgress, PlanComplete, StepComplete, Still, Task, TextDelta
from emu_planner.plan.planner import Planner
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.credentials import Credentials
from sim.bench.suite import SceneName
from sim.world import World


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id (default: nano)")
    parser.add_argument("--runs", type=positive, default=20, help="plans to time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="default: %(default)s")


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
