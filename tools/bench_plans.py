"""Whole plans with recorded passes (CUDA graphs) beside plain ones, in the same run.

    python tools/bench_plans.py                        nano on the GPU: raster and jacobi, 10 plans each
    python tools/bench_plans.py --float32 --guidance 2 --temperature 1

Seconds are wall time of one `plan()` of `--steps` subgoals, median and range; plans take turns, and the
first of each planner, which records and warms up, stands apart. "equal" counts plans with the very
words and pictures of plain raster; confidence, a float, is not compared. The picture is drawn, not
simulated, so that nothing but the model is needed: what the model makes of it does not matter here.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.loaded import LoadedParts, load_parts
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.sampler import Sampling
from emu_planner.model.checkpoint import resolve
from emu_planner.plan import Frame, Generation, Observation, Report, Still, Task, collect

INSTRUCTION = "stack the red block on the blue block"


def main() -> None:
    """Run it."""
    args = arguments()
    torch.set_num_threads(1)
    folder = resolve(args.checkpoint)
    dtype = torch.float32 if args.float32 else None
    parts = load_parts(folder, device=args.device, dtype=dtype)
    config = PlannerConfig.from_folder(folder)
    if args.guidance is not None:
        config = replace(config, guidance_scale=args.guidance)
    if args.temperature is not None:
        config = replace(config, image=Sampling(args.temperature))
    frames, runs = drawn(config), list(planners(parts, config, args.decoders))
    first_s = {name: timed(planner, frames, 0, args.steps)[1] for name, planner in runs}
    reports: dict[str, list[Report]] = {name: [] for name, _ in runs}
    seconds: dict[str, list[float]] = {name: [] for name, _ in runs}
    for seed in range(args.plans):
        for name, planner in runs:
            made, spent_s = timed(planner, frames, seed, args.steps)
            reports[name].append(made)
            seconds[name].append(spent_s)
    place = parts.model.lm_head.weight.device
    device = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    print(
        f"{args.checkpoint}, {parts.model.lm_head.weight.dtype}, guidance {config.guidance_scale}, {device}"
    )
    print(
        f"{'decoder':16} {'first s':>8} {'plan s':>8} {'range':>15} {'ratio':>6} {'words':>7} "
        f"{'picture':>8}  equal"
    )
    plain = reports[runs[0][0]]
    base_s = statistics.median(seconds[runs[0][0]])
    for name, _ in runs:
        times, median_s = seconds[name], statistics.median(seconds[name])
        timings = [made.timing for made in reports[name]]
        text_s, picture_s = (
            statistics.median(getattr(timing, part) for timing in timings)
            for part in ("text_s", "keyframe_s")
        )
        equal = sum(alike(a, b) for a, b in zip(reports[name], plain, strict=True))
        print(
            f"{name:16} {first_s[name]:8.3f} {median_s:8.3f} {min(times):7.3f}-{max(times):7.3f} "
            f"{base_s / median_s:6.2f} {text_s:7.3f} {picture_s:8.3f}  {equal} of {len(plain)}"
        )
    said = plain[0]
    print(f"plan 0: {said.reason} {said.error_message} {[step.subgoal for step in said.steps]}")
    if place.type == "cuda":
        print(
            f"memory: {torch.cuda.memory_allocated(place) / 1e9:.2f} GB held, "
            f"{torch.cuda.max_memory_allocated(place) / 1e9:.2f} at most"
        )


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--plans", type=int, default=10, help="of each planner")
    parser.add_argument("--steps", type=int, default=2, help="subgoals of a plan")
    parser.add_argument("--decoders", nargs="+", default=["raster", "jacobi"])
    parser.add_argument("--guidance", type=float, help="default: the checkpoint's")
    parser.add_argument("--temperature", type=float, help="of codes; default: the checkpoint's sampling")
    parser.add_argument("--float32", action="store_true", help="instead of the stored type")
    return parser.parse_args()


def planners(
    parts: LoadedParts, config: PlannerConfig, decoders: list[str]
) -> Iterator[tuple[str, EmuPlanner]]:
    """Each decoder, plain and with recorded passes; the plain one of the first decoder comes first."""
    for decoder in decoders:
        for graphs in (False, True):
            name = f"{decoder}, {'recorded' if graphs else 'plain'}"
            yield name, EmuPlanner(*parts, replace(config, decoder=decoder), graphs=graphs)


def drawn(config: PlannerConfig) -> Still:
    """A grey table with a red and a blue block, from every camera."""
    width, height = config.picture_width // len(config.views), config.picture_height
    rgb = np.full((height, width, 3), 150, np.uint8)
    rgb[: height // 3] = 90
    side = height // 8
    for colour, left in (((200, 40, 40), width // 4), ((40, 60, 200), width // 2)):
        rgb[height // 2 : height // 2 + side, left : left + side] = colour
    return Still(Observation(tuple(Frame(rgb, view) for view in config.views)))


def timed(planner: EmuPlanner, frames: Still, seed: int, steps: int) -> tuple[Report, float]:
    """A plan, and the seconds that it took."""
    begun_s = time.perf_counter()
    task = Task(INSTRUCTION, Generation(steps, seed=seed))
    made = collect(INSTRUCTION, planner.plan(task, frames))
    return made, time.perf_counter() - begun_s


def alike(one: Report, other: Report) -> bool:
    """Whether two plans say and show the same; rounding alone changes the confidence of a step."""

    def without(made: Report) -> Report:
        return replace(made, steps=tuple(replace(step, confidence=None) for step in made.steps))

    return without(one) == without(other)


if __name__ == "__main__":
    main()
