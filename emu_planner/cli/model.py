"""Which model runs, and on what: arguments of the command line, and loading. torch only when loading."""

import argparse
from typing import TYPE_CHECKING

from emu_planner.cli.arguments import positive

if TYPE_CHECKING:
    from emu_planner.engine.planner import EmuPlanner


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """--checkpoint, --device, --threads."""
    parser.add_argument(
        "--checkpoint",
        default="nano",
        metavar="nano|FOLDER|HUB-ID",
        help="the model: the one that comes with the package, a folder, or OWNER/NAME on the "
        "Hugging Face hub (default: nano)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (a GPU if there is one), cpu, cuda or cuda:N (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        default=1,
        help="CPU threads of the model; a second one waits for the first at every token, and on a "
        "busy machine that costs tens of milliseconds each time (default: %(default)s)",
    )


def load_planner(args: argparse.Namespace) -> "tuple[EmuPlanner, str]":
    """The planner that the arguments ask for, and the device it runs on.

    Raises:
        CheckpointError, a ValueError: there is no such checkpoint or device.
    """
    import torch

    from emu_planner.engine.planner import EmuPlanner
    from emu_planner.model.checkpoint import CheckpointError

    has_gpu = torch.cuda.is_available()
    device = ("cuda" if has_gpu else "cpu") if args.device == "auto" else args.device
    if device.startswith("cuda") and not has_gpu:
        raise CheckpointError(f"device {device} is not there: torch finds no GPU; use --device cpu")
    return EmuPlanner.load(args.checkpoint, device=device, threads=args.threads), device
