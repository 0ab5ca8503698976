"""What the stages of `emu-planner train` have in common: arguments, settings, the checkpoint's folder."""

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from emu_planner.engine.config import PlannerConfig
from emu_planner.model.checkpoint import load_transformer, save_transformer, save_vision_tokenizer
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer
from emu_planner.model.vocabulary import tokenizer_files
from emu_planner.training.distributed import Team, launched, team

# files that every hosting service takes
_SHARD_BYTES = 15 * 2**20


def add_run_arguments(parser: argparse.ArgumentParser, *, steps: int) -> None:
    """The arguments of every run."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on if it exists")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--minutes", type=float, help="length by the clock instead of --steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def settings(kind: type, args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that are fields of a settings class."""
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in vars(args).items() if name in names and value is not None}


def device(args: argparse.Namespace) -> torch.device:
    """The one that --device names."""
    if args.device != "auto":
        return torch.device(args.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def together(args: argparse.Namespace) -> Iterator[Team]:
    """The processes of this run, see training/distributed.py; all but the first are silent."""
    with (
        team(args.parallel, device(args)) as found,
        open(os.devnull, "w") as nowhere,
        nullcontext() if found.rank == 0 else redirect_stdout(nowhere),
    ):
        yield found


def led(found: Team, out: Path, write: Callable[[], TextTokenizer]) -> TextTokenizer:
    """A checkpoint's folder: the first process writes it, the others wait and read its words."""
    text = write() if found.rank == 0 else None
    found.wait()
    return text or TextTokenizer.from_folder(out)


def insist_on_one_process(stage: str) -> None:
    """Only the language model learns in several. ValueError: torchrun has started several."""
    if launched() > 1:
        raise ValueError(f"train {stage} is one process; torchrun is for lm and dida")


def insist_on_same(record: Path, name: str, otherwise: str) -> None:
    """A run goes on with what it began with: kept in a file of its folder.

    Raises:
        ValueError: another name stands there; `otherwise` is the message.
    """
    if record.exists() and record.read_text().strip() != name:
        raise ValueError(otherwise)
    record.parent.mkdir(parents=True, exist_ok=True)
    # whole at any time: other processes of the run read it
    part = record.with_suffix(f".{os.getpid()}.part")
    part.write_text(name + "\n")
    part.replace(record)


def load_learner(source: Path) -> Transformer:
    """A trained model to learn on: float32, for under bfloat16 an optimiser's small steps would be lost."""
    return load_transformer(source, dtype=torch.float32)


def copy_checkpoint(source: Path, out: Path, vision: VisionTokenizer, config: PlannerConfig) -> TextTokenizer:
    """Write everything of a checkpoint but the language model, as another has it, with its own planner.json.

    Raises:
        ValueError: `out` is `source`: the model that the run begins with would be written over.
    """
    if out.resolve() == source.resolve():
        raise ValueError(f"this run begins with {source}, and would write its own there; take another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in (*tokenizer_files(source), source / "tokenizer_config.json"):
        if path.is_file():
            shutil.copyfile(path, out / path.name)
    save_vision_tokenizer(vision, out, dtype=torch.bfloat16)
    config.save(out)
    return TextTokenizer.from_folder(out)


def saver(out: Path) -> Callable[[Transformer], None]:
    """What writes the language model into a checkpoint's folder."""
    return partial(save_transformer, folder=out, dtype=torch.bfloat16, shard_bytes=_SHARD_BYTES)
