"""What the stages of `emu-planner train` have in common: settings, device, the new checkpoint's folder."""

import argparse
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from emu_planner.engine.config import PlannerConfig
from emu_planner.model.checkpoint import save_vision_tokenizer
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.text import TextTokenizer
from emu_planner.model.vocabulary import tokenizer_files

# files that every hosting service takes
SHARD_BYTES = 15 * 2**20


def copy_checkpoint(source: Path, out: Path, vision: VisionTokenizer, config: PlannerConfig) -> TextTokenizer:
    """Write everything of a checkpoint but the language model, as another has it, with its own planner.json.

    Raises:
        ValueError: `out` is `source`: the model that the run begins with would be written over.
    """
    if out.resolve() == source.resolve():
        raise ValueError(f"--checkpoint is {source}, where this run writes its own; take another --out")
    out.mkdir(parents=True, exist_ok=True)
    for path in (*tokenizer_files(source), source / "tokenizer_config.json"):
        if path.is_file():
            shutil.copyfile(path, out / path.name)
    save_vision_tokenizer(vision, out, dtype=torch.bfloat16)
    config.save(out)
    return TextTokenizer.from_folder(out)


def settings(kind: type, args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that are fields of a settings class."""
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in vars(args).items() if name in names and value is not None}


def device(args: argparse.Namespace) -> torch.device:
    """The one that --device names."""
    if args.device != "auto":
        return torch.device(args.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
