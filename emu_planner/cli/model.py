"""Which model runs, and on what: arguments of the command line, and loading. torch only when loading."""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from emu_planner.cli.arguments import positive
from emu_planner.engine.request import DECODERS, SHARES
from emu_planner.plan import PlanError

if TYPE_CHECKING:
    from emu_planner.engine.generator import Generator
    from emu_planner.engine.planner import EmuPlanner
    from emu_planner.engine.together import Sharing


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """--checkpoint, --vision, --tokenizer, --device, --threads, and those of add_decoder_argument."""
    parser.add_argument(
        "--checkpoint",
        default="nano",
        metavar="nano|FOLDER|HUB-ID",
        help="the model: the one that comes with the package, a folder, or OWNER/NAME on the "
        "Hugging Face hub (default: nano)",
    )
    parser.add_argument(
        "--vision",
        metavar="FOLDER|HUB-ID",
        help="the vision tokenizer, where it is not in vision_tokenizer/ of the model: published ones come "
        "apart from it, as BAAI/Emu3.5-VisionTokenizer",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FOLDER|HUB-ID",
        help="the text tokenizer's files (*.tiktoken, *_vision_tokens.txt), where they are not with the "
        "model: Emu3.5 keeps them with its code, in src/tokenizer_emu3_ibq",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE[,DEVICE...]",
        help="auto (a GPU if there is one; all of them for a model that does not fit), cpu, cuda, cuda:N, "
        "or several to spread the layers over: cuda:0,cuda:1 (default: auto)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        default=1,
        help="CPU threads of the model; a second one waits for the first at every token, and on a "
        "busy machine that costs tens of milliseconds each time (default: %(default)s)",
    )
    add_decoder_argument(parser)


def add_decoder_argument(parser: argparse.ArgumentParser) -> None:
    """--decoder, --graphs, --fp8 and --share; those not given are None."""
    parser.add_argument(
        "--decoder",
        choices=DECODERS,
        help="how images are decoded: one code a pass; or as many as were guessed right, with the same "
        "codes; or all at once, refined in a few passes, by a checkpoint that is adapted to it (default: "
        "as the checkpoint's planner.json says, else raster)",
    )
    parser.add_argument(
        "--graphs",
        action=argparse.BooleanOptionalAction,
        help="send recorded passes (CUDA graphs) instead of each by itself (default: on one GPU, for one "
        "plan at a time, without --fp8)",
    )
    parser.add_argument(
        "--fp8",
        action=argparse.BooleanOptionalAction,
        help="round the layers' weights to 8 bits as they are read: half the memory and, on a recent GPU, "
        "less time; plans are not the same",
    )
    parser.add_argument(
        "--share",
        choices=SHARES,
        help="how processes that torchrun starts share the model: each has a part of every layer, or the "
        "whole model and some rows of guidance (default: tensor)",
    )


def load_planner(args: argparse.Namespace, plans: int = 1) -> "tuple[EmuPlanner, str]":
    """The planner that the arguments ask for, and the device it runs on; `plans`: see EmuPlanner.

    Of processes that torchrun has started, the first gets it; the others make its passes until it
    ends, and end too.

    Raises:
        CheckpointError, a ValueError: there is no such checkpoint or device.
        SystemExit: in another process than the first, when that has ended.
    """
    from emu_planner.engine.planner import EmuPlanner

    sharing = join_others(args.device, args.share, graphs=bool(args.graphs), plans=plans)
    if sharing is None:
        devices = find_devices(args.device, args.checkpoint, fp8=bool(args.fp8))
    else:
        devices = [str(sharing.ranks.device)]
    proven = plans == 1 and sharing is None and not args.fp8
    graphs = are_recorded(devices, asked=args.graphs, proven=proven)
    with loading_bar(Console(stderr=True)) as progress:
        planner = EmuPlanner.load(
            args.checkpoint,
            vision=args.vision,
            tokenizer=args.tokenizer,
            device=devices[0] if len(devices) == 1 else devices,
            threads=args.threads,
            decoder=args.decoder,
            progress=progress,
            plans=plans,
            graphs=graphs,
            fp8=bool(args.fp8),
            sharing=sharing,
        )
    if sharing is not None and not sharing.ranks.leads:
        follow_first(planner, sharing)
    return planner, ",".join(devices)


def are_recorded(devices: Sequence[str], *, asked: bool | None, proven: bool) -> bool:
    """Whether passes are recorded: as asked, else on one GPU.

    Args:
        asked: what --graphs says; None: nothing.
        proven: whether the rest is such that it was seen to be faster there, with the same tokens.
    """
    if asked is not None:
        return asked
    return proven and len(devices) == 1 and devices[0].startswith("cuda")


def is_follower() -> bool:
    """Whether torchrun has started this process, and another one as the first. Needs no torch."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0


def join_others(device: str, share: str | None, *, graphs: bool, plans: int = 1) -> "Sharing | None":
    """How the processes that torchrun has started share a model; None: this one is alone.

    Raises:
        CheckpointError: a process has no device, or what is asked for does not go with sharing.
    """
    from emu_planner.engine.ranks import are_launched
    from emu_planner.model.checkpoint import CheckpointError

    if not are_launched():
        if share is not None:
            raise CheckpointError(
                f"--share {share}: this process is alone; start several with torchrun "
                "(docs/gpu_server.md), or leave it out"
            )
        return None
    from emu_planner.engine.ranks import join
    from emu_planner.engine.together import Sharing, check_plans, end

    check_plans(plans)
    if graphs and share == "guidance":
        raise CheckpointError(
            "--graphs: passes of --share guidance are not recorded; leave one of the two out"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise CheckpointError(
            f"--device {device}: each of torchrun's processes takes a GPU of its own; use auto, cpu or cuda"
        )
    try:
        sharing = Sharing(join(None if device == "auto" else device), share or "tensor")
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if sharing.ranks.leads:
        atexit.register(end, sharing.ranks)
    return sharing


def follow_first(follower: "EmuPlanner | Generator", sharing: "Sharing") -> NoReturn:
    """In another process than the first: make its passes until it ends. SystemExit: it has; 3: it died."""
    # the first one ends what it began, and tells
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        follower.follow(sharing)
    except PlanError as error:
        print(f"emu-planner: {error.message}", file=sys.stderr)
        sys.exit(3)
    sys.exit(0)


def find_devices(asked: str, checkpoint: str, *, fp8: bool) -> list[str]:
    """The devices of this machine that --device means for a checkpoint. Errors as of load_planner."""
    import torch

    from emu_planner.model.checkpoint import resolve, stored_bytes

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    free = [torch.cuda.mem_get_info(index)[0] for index in range(count)]
    return choose_devices(asked, free, lambda: stored_bytes(resolve(checkpoint), fp8=fp8))


def choose_devices(asked: str, free: Sequence[int], needed: Callable[[], int]) -> list[str]:
    """The devices that --device means.

    Args:
        asked: the argument.
        free: bytes that each GPU has free.
        needed: bytes of the model, asked for when it matters.

    Raises:
        CheckpointError: a device is not there.
    """
    import torch

    from emu_planner.model.checkpoint import CheckpointError
    from emu_planner.model.spread import GPU_SHARE

    count = len(free)
    if asked == "auto":
        if count < 2:
            return ["cuda" if count else "cpu"]
        return ["cuda"] if needed() < GPU_SHARE * free[0] else [f"cuda:{index}" for index in range(count)]
    devices = asked.split(",")
    for device in devices:
        try:
            known = torch.device(device)
        except RuntimeError as error:
            raise CheckpointError(f"there is no device {device!r}; use auto, cpu, cuda or cuda:N") from error
        if known.type == "cuda" and not count:
            raise CheckpointError(f"device {device} is not there: torch finds no GPU; use --device cpu")
        if known.type == "cuda" and (known.index or 0) >= count:
            raise CheckpointError(f"device {device} is not there: torch finds {count}, from cuda:0")
    return devices


@contextmanager
def loading_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar over bytes, while they are read, where a person looks; yields what is to be called."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(
        "reading the model", *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task("", total=None)
        before = 0

        def show(done: int, total: int) -> None:
            nonlocal before
            if done < before:  # the next file set
                bars.reset(task)
            before = done
            bars.update(task, completed=done, total=total)

        yield show
