"""Tensors from a torch pickle, `model.ckpt` of the published vision tokenizer, running no code in it.

A pickle can name any function for its reader to call. torch's restricted reader takes tensors and plain
containers and refuses all else before anything is called. Knows no model.
"""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from emu_planner.model.errors import CheckpointError

_WRAPPER = "state_dict"


def read_pickle(path: Path, ignored: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a pickle by name, in the CPU's memory or mapped from the file.

    Args:
        path: a dictionary of tensors, or one that holds it as "state_dict".
        ignored: beginnings of names to leave out.

    Raises:
        CheckpointError: it is damaged, or holds more than tensors and plain values.
    """
    # torch writes zip files since 1.6; older ones cannot be mapped
    mapped = zipfile.is_zipfile(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; is the download complete?") from error
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower() or not _is_pickle(path, zipped=mapped):
            raise CheckpointError(f"{path} is damaged or no torch file; download it again") from error
        raise CheckpointError(
            f"{path} holds more than tensors, and reading that could run code; nothing of it was run. "
            "Take the published model.safetensors and config.json instead"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); copy or download it again") from error
    if isinstance(content, Mapping) and isinstance(content.get(_WRAPPER), Mapping):
        content = content[_WRAPPER]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected tensors by name")
    tensors = {
        str(name): value for name, value in content.items() if not str(name).startswith(tuple(ignored))
    }
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(
            f"{path}: {strange[0]} is no tensor; is it a checkpoint of the vision tokenizer?"
        )
    return tensors


def _is_pickle(path: Path, *, zipped: bool) -> bool:
    """Whether the file is a torch file at all, whatever is in it."""
    if zipped:
        return True
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO
