"""`emu-planner bench engine`: how fast tokens come; bench_engine_figures.py measures, with torch."""

import argparse
from pathlib import Path

from rich.console import Console

from emu_planner.cli.arguments import counts, positive

DECODERS = ("raster", "plain", "jacobi")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument("--config", default="nano", help="full, nano or HIDDENxLAYERS (default: %(default)s)")
    parser.add_argument("--decoder", choices=DECODERS, default="raster", help="default: %(default)s")
    parser.add_argument(
        "--against", choices=DECODERS, help="another decoder, for the time of a token in the same run"
    )
    parser.add_argument(
        "--sessions", type=counts, default="1", help="numbers, comma-separated (default: %(default)s)"
    )
    parser.add_argument(
        "--pixels", type=counts, default="256", help="sides of pictures, comma-separated (%(default)s)"
    )
    parser.add_argument("--context", type=positive, default=2048, help="tokens before it (%(default)s)")
    parser.add_argument("--steps", type=positive, default=64, help="tokens timed one by one (%(default)s)")
    parser.add_argument("--device", help="default: cuda where torch finds it, else cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="%(default)s")
    parser.add_argument(
        "--no-transformers", action="store_true", help="no plain loop to compare with, if installed"
    )
    parser.add_argument("--attention", choices=("split", "model"), default="split", help="%(default)s")
    parser.add_argument(
        "--no-fused", action="store_true", help="raster's steps made of the model's own layers"
    )
    parser.add_argument("--profile", action="store_true", help="where a token's time goes, by kernel")
    parser.add_argument("--json", type=Path, help="write the figures there")


def run(args: argparse.Namespace, console: Console) -> int:
    """Measure, show, and write if asked.

    Raises:
        ValueError: an argument that cannot be.
    """
    # torch takes seconds to load, and no other benchmark needs it here
    from emu_planner.cli import bench_engine_figures

    return bench_engine_figures.run(args, console)
