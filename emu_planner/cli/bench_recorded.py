"""`emu-planner bench recorded`: a plan's keyframes beside a recording of what really happened."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sim import recorded, recording
from sim.camera import VIEWS
from sim.shards import views_of

_ASPECT_TOLERANCE = 0.02


def add_arguments(parser: "argparse._ActionsContainer") -> None:
    """The arguments of `recorded`."""
    parser.add_argument("--frames", type=Path, help="the recording: a folder of pictures, a video, or a bag")
    parser.add_argument("--keyframes", type=Path, help="folder of the plan's keyframes (`emu-planner plan`)")
    parser.add_argument("--view", choices=VIEWS, help="which view of the keyframes the recording shows")
    parser.add_argument("--topic", help="image topic of the bag, when it has several")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="keep each N-th recorded picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the figures, a copy and the recording beside them. ValueError: wrong input."""
    if args.frames is None or args.keyframes is None:
        raise ValueError("recorded needs --frames and --keyframes")
    keyframes = recording.read_folder(args.keyframes)
    frames = recording.read(args.frames, topic=args.topic, every=args.every)
    keyframes = [_part(keyframe, args.view, frames[0]) for keyframe in keyframes]
    height, width = keyframes[0].shape[:2]
    # as the planner itself resizes what it sees
    small = [cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8) for f in frames]
    ready = recorded.prepare(small)
    results = {"the plan": recorded.compare(ready, keyframes), **recorded.controls(ready, len(keyframes))}
    _show(ready, results, console)
    if args.json is not None:
        said = {name: asdict(comparison) for name, comparison in results.items()}
        head = {
            "frames": len(frames),
            "still_share": float(ready.still.mean()),
            "background_floor": ready.floor,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**head, "results": said}, indent=1) + "\n")
    return 0


def _part(keyframe: NDArray[np.uint8], view: str | None, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The view of a keyframe; all of it when the recording has its shape and no view is named."""
    if view is not None:
        return np.ascontiguousarray(views_of(keyframe)[view])
    aspect = frame.shape[1] / frame.shape[0] / (keyframe.shape[1] / keyframe.shape[0])
    if abs(aspect - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"keyframes of {keyframe.shape[1]}x{keyframe.shape[0]} and a recording of "
            f"{frame.shape[1]}x{frame.shape[0]} pixels: say which view was recorded with --view"
        )
    return keyframe


def _show(ready: recorded.Recording, results: dict[str, recorded.Comparison], console: Console) -> None:
    table = Table(
        "mean over the keyframes", *results, title="keyframes beside a recording; no state is known"
    )
    for name in recorded.NAMES:
        table.add_row(name, *(_number(result.mean(name)) for result in results.values()))
    table.add_row("background drift a step", *(_number(r.background_drift) for r in results.values()))
    table.add_row("in the recording's order", *("yes" if r.in_order else "no" for r in results.values()))
    console.print(table)
    console.print(
        f"{len(ready.frames)} recorded pictures, {ready.still.mean():.0%} of them stands still, where they "
        f"differ by {ready.floor:.2f} grey levels; {len(ready.patches)} patches followed",
        markup=False,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
