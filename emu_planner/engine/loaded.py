"""The three parts of a checkpoint, loaded and checked together. Knows no task."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from emu_planner.engine.prepack import prepack
from emu_planner.model.checkpoint import (
    CheckpointError,
    Devices,
    Progress,
    load_transformer,
    load_vision_tokenizer,
    resolve,
)
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class LoadedParts(NamedTuple):
    """What a checkpoint holds."""

    model: Transformer
    vision: VisionTokenizer
    tokenizer: TextTokenizer


def load_parts(
    folder: Path,
    *,
    vision: Path | str | None = None,
    tokenizer: Path | str | None = None,
    device: Devices = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
    fp8: bool = False,
    mesh: "DeviceMesh | None" = None,
) -> LoadedParts:
    """The parts of a checkpoint folder, ready to run.

    Args:
        folder: as emu_planner.model.checkpoint.resolve gives it.
        vision: name of the vision tokenizer, where it lies apart; None: inside the folder.
        tokenizer: name of the folder with the text tokenizer's files; None: inside the folder.
        device: where they run; several: the transformer's layers are spread over them.
        dtype: of the transformer; None: as stored. The vision tokenizer runs in float32.
        progress: called with bytes read and bytes in all.
        fp8, mesh: of the transformer, see load_transformer.

    Raises:
        CheckpointError: see resolve, load_transformer and load_vision_tokenizer.
    """
    texts = folder if tokenizer is None else resolve(tokenizer)
    try:
        reading = TextTokenizer.from_folder(texts)
    except (FileNotFoundError, ValueError) as error:
        raise CheckpointError(str(error)) from error
    # the small one first: what is wrong with it is told before the large one is read
    first = device if isinstance(device, (str, torch.device)) else device[0]
    seeing = load_vision_tokenizer(
        folder if vision is None else resolve(vision), device=first, progress=progress
    )
    model = load_transformer(
        folder, device=device, dtype=dtype, tokenizer=texts, progress=progress, fp8=fp8, mesh=mesh
    )
    # packing is for a model in one place
    if mesh is None and (isinstance(device, (str, torch.device)) or len(device) == 1):
        prepack(model)
    return LoadedParts(model, seeing, reading)


def check_parts(model: Transformer, vision: VisionTokenizer, tokenizer: TextTokenizer) -> None:
    """Raises CheckpointError when the parts are not of one checkpoint."""
    vocabulary = tokenizer.vocabulary
    size, codes = model.config.vocab_size, vision.config.n_embed
    if size < vocabulary.size or codes != vocabulary.codes:
        raise CheckpointError(
            f"the tokenizer files name {vocabulary.size} ids with {vocabulary.codes} "
            f"visual codes, the transformer has {size} ids, the vision tokenizer {codes} codes; "
            "they are not of one checkpoint"
        )
