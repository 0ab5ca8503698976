"""`emu-planner plan`: pictures from disk and one sentence in, steps as JSON lines out.

With --server the model runs elsewhere and nothing here needs torch.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from emu_planner.cli.model import add_model_arguments, load_planner
from emu_planner.cli.pictures import read_picture, write_picture
from emu_planner.plan import (
    ErrorCode,
    Frame,
    Generation,
    Observation,
    PlanComplete,
    PlanError,
    Planner,
    StepComplete,
    Still,
    Task,
)
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.credentials import Credentials
from emu_planner.wire.images import Encoding, ImageConfig
from emu_planner.wire.tracing import Tracing

# names of the pictures' cameras, in the order in which they are given
CAMERAS = ("front", "side")
# larger pictures go to a service as JPEG: a message has its limits
_MOST_LOSSLESS_PIXELS = 2_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.epilog = "Exit status: 0 a plan, 2 wrong input, 3 the service or the model failed."
    parser.add_argument("--task", required=True, help="what to do, in one sentence")
    parser.add_argument(
        "--image",
        action="append",
        required=True,
        metavar="FILE",
        help="what the cameras see: one picture (all views side by side, or one view), or the "
        "front view and, with a second --image, the side view",
    )
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="a running `emu-planner serve` (default: run the model here)"
    )
    add_model_arguments(parser)
    parser.add_argument("--seed", type=int, help="the same seed gives the same plan (default: any)")
    parser.add_argument(
        "--max-subgoals", type=int, default=0, metavar="N", help="most steps (default: no limit)"
    )
    parser.add_argument("--no-keyframes", action="store_true", help="words only")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where keyframes go (default: out)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the plan. 2: the input is wrong; 3: the service or the model failed."""
    with contextlib.ExitStack() as stack:
        try:
            generation = Generation(args.max_subgoals, keyframes=not args.no_keyframes, seed=args.seed)
            task, frames = Task(args.task, generation), Still(_look(args.image))
            args.out.mkdir(parents=True, exist_ok=True)
            planner = stack.enter_context(_open_planner(args, frames))
        except (OSError, ValueError, PlanError) as error:
            print(f"emu-planner plan: {_words(error)}", file=sys.stderr)
            return 2
        try:
            _print_plan(planner, task, frames, args.out)
        except PlanError as error:
            print(f"emu-planner plan: {error.message}", file=sys.stderr)
            return 2 if error.code is ErrorCode.INVALID_REQUEST else 3
    return 0


def _words(error: Exception) -> str:
    return error.message if isinstance(error, PlanError) else str(error)


def _look(files: list[str]) -> Observation:
    """The pictures as one observation. ValueError: a file is no picture, or there are too many."""
    if len(files) > len(CAMERAS):
        raise ValueError(f"{len(files)} pictures; expected at most {len(CAMERAS)}: {' and '.join(CAMERAS)}")
    frames = [Frame(read_picture(file), camera) for file, camera in zip(files, CAMERAS, strict=False)]
    return Observation(tuple(frames))


@contextlib.contextmanager
def _open_planner(args: argparse.Namespace, frames: Still) -> Iterator[Planner]:
    if args.server is None:
        yield load_planner(args)[0]
        return
    # lossless where that fits: the plan is then the same as without a service
    pixels = sum(frame.rgb.size // 3 for frame in frames.observation.frames)
    encoding = Encoding.PNG if pixels <= _MOST_LOSSLESS_PIXELS else Encoding.JPEG
    config = ClientConfig(
        images=ImageConfig(encoding),
        credentials=Credentials.from_environment(),
        tracing=Tracing.from_environment("emu_planner.plan"),
    )
    with RemotePlanner(args.server, config) as planner:
        yield planner


def _print_plan(planner: Planner, task: Task, frames: Still, out: Path) -> None:
    begun_s = time.monotonic()
    for event in planner.plan(task, frames):
        seconds = round(time.monotonic() - begun_s, 3)
        if isinstance(event, StepComplete):
            step, path = event.step, None
            if step.keyframe is not None:
                path = out / f"step-{step.index + 1:02d}-keyframe.png"
                write_picture(path, step.keyframe.rgb)
            line = {
                "index": step.index,
                "subgoal": step.subgoal,
                "keyframe": None if path is None else str(path),
                "confidence": None if step.confidence is None else round(step.confidence, 4),
                "seconds": seconds,
                "timing": {k: round(v, 4) for k, v in asdict(event.timing).items()},
            }
            print(json.dumps(line), flush=True)
        elif isinstance(event, PlanComplete):
            print(f"finished ({event.reason.value}) after {seconds} s", file=sys.stderr)
