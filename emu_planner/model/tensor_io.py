"""Tensors from files into memory, each straight into its place, and from memory into files.

Plain reads, not a mapping: memory then holds each byte once, and a file that changes under a running
model cannot hurt it. Knows no model.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from emu_planner.model.errors import CheckpointError
from emu_planner.model.tensor_files import DTYPES, FILE, INDEX, Stored

# Called with the bytes read so far and all bytes; it may raise to stop the loading.
Progress = Callable[[int, int], None]

# From a tensor and its name to what is kept instead, by name.
Convert = Callable[[str, Tensor], Mapping[str, Tensor]]

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_CHUNK_BYTES = 64 * 2**20


class Part(NamedTuple):
    """A part of a tensor: along dimension 0, or 1 of 2, from first to before stop."""

    dim: int
    first: int
    stop: int


def read(
    found: Mapping[str, Stored],
    *,
    places: Mapping[str, torch.device],
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
    parts: Mapping[str, Part] | None = None,
    convert: Convert | None = None,
) -> dict[str, Tensor]:
    """Read tensors that passed tensor_files.check, each into memory of its device that is taken for it then.

    On a CPU the file is read into the tensor itself; on another device, or into another dtype,
    through one buffer of 64 MiB.

    Args:
        places: the device of each.
        dtype: of all of them; None: as stored.
        progress: see Progress.
        parts: of tensors of which only a part is wanted; memory is taken for that alone.
        convert: applied to each when it has been read, so that memory holds few as they were.

    Raises:
        CheckpointError: a file cannot be read, or ends early, or there is no memory.
    """
    parts = parts or {}
    # rows of a tensor lie behind each other: its part is a smaller tensor of the file
    found = {name: _rows(stored, parts.get(name)) for name, stored in found.items()}
    total, done = sum(stored.nbytes for stored in found.values()), 0
    buffer = _Buffer(places.values())
    tensors: dict[str, Tensor] = {}
    for path in sorted({stored.path for stored in found.values()}):
        inside = {name: stored for name, stored in found.items() if stored.path == path}
        try:
            with path.open("rb", buffering=0) as file:
                for name in sorted(inside, key=lambda name: inside[name].first):
                    stored = inside[name]
                    columns = _columns(stored, parts.get(name))
                    tensor = _empty(name, stored, columns, dtype or stored.torch_dtype, places[name])
                    for count in _fill(file, stored, columns, tensor, buffer):
                        done += count
                        if progress is not None:
                            progress(done, total)
                    tensors.update({name: tensor} if convert is None else convert(name, tensor))
        except (OSError, EOFError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    return tensors


def write(
    folder: Path,
    shapes: Mapping[str, Sequence[int]],
    dtype_of: Callable[[str], torch.dtype],
    make: Callable[[str], Tensor],
    shard_bytes: int,
) -> None:
    """Write tensors into a folder, in files of at most `shard_bytes`, each tensor made when its turn comes.

    A tensor larger than that gets a file of its own. All is written beside what was there, under names
    ending in .partial, and is on the disk before the first file is replaced. Whoever reads the folder
    after an interruption finds the old tensors or the new ones, never some of each:

    - up to the first replacement the old ones;
    - when no shard of the index that was there has the name of a new file (one file before or after, or
      another number of shards), at every moment one of the two;
    - when shards are replaced by as many, their names are the same: from the first replacement to the
      last the folder has no index, and is refused. The rest of the shards are there as .partial.

    Args:
        shapes: of all tensors, in their order.
        dtype_of: the dtype of a tensor.
        make: the tensor of a name, of that shape and dtype.
    """
    sizes = {name: math.prod(shape) * dtype_of(name).itemsize for name, shape in shapes.items()}
    shards = _split(sizes, shard_bytes)
    names = [FILE]
    if len(shards) > 1:
        count = len(shards)
        names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    for stale in folder.glob("model*.partial"):  # of a call that was interrupted
        stale.unlink()
    for file, shard in zip(names, shards, strict=True):
        parts = (_bytes(make(name).contiguous()) for name in shard)
        _write_partial(folder / file, itertools.chain([_header(shard, shapes, sizes, dtype_of)], parts))
    if len(shards) > 1:
        weight_map = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        _write_partial(folder / INDEX, [(json.dumps(index, indent=1) + "\n").encode()])
    _replace(folder, names)


def _write_partial(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write what is to become this file, down to the disk."""
    with _partial(path).open("wb") as out:
        out.writelines(parts)  # which holds one at a time
        out.flush()
        os.fsync(out.fileno())


def _replace(folder: Path, names: Sequence[str]) -> None:
    """Put the partial files into their places, so that `write` keeps what it says."""
    if len(names) > 1 and any((folder / name).exists() for name in names):
        (folder / INDEX).unlink(missing_ok=True)
    for name in names:
        os.replace(_partial(folder / name), folder / name)
    if len(names) > 1:
        os.replace(_partial(folder / INDEX), folder / INDEX)
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for old in folder.glob("model*.safetensors"):
        if old.name not in names:
            old.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _rows(stored: Stored, part: Part | None) -> Stored:
    """What to read of a tensor: a part of its rows, or all of it."""
    if part is None or part.dim:
        return stored
    row = stored.nbytes // stored.shape[0]
    first, last = (stored.first + row * end for end in (part.first, part.stop))
    return replace(stored, shape=(part.stop - part.first, *stored.shape[1:]), first=first, last=last)


def _columns(stored: Stored, part: Part | None) -> slice | None:
    """What to keep of each row; None: all of it."""
    if part is None or not part.dim:
        return None
    assert part.dim == 1
    assert len(stored.shape) == 2
    return slice(part.first, part.stop)


def _empty(
    name: str, stored: Stored, columns: slice | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Memory for a tensor, or for its columns."""
    shape = stored.shape if columns is None else (stored.shape[0], columns.stop - columns.start)
    try:
        return torch.empty(shape, dtype=dtype, device=device)
    except RuntimeError as error:  # of a CPU, or torch.OutOfMemoryError of a GPU
        raise CheckpointError(
            f"no memory on {device} for {name} {list(shape)} of {stored.path} ({error})"
        ) from error


class _Buffer:
    """Memory for what cannot be read in place; taken when first needed, pinned for a GPU."""

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._pinned = any(device.type == "cuda" for device in devices)
        self._memory: Tensor | None = None

    def take(self, count: int) -> Tensor:
        """`count` bytes, at most a chunk."""
        if self._memory is None:
            self._memory = torch.empty(_CHUNK_BYTES, dtype=torch.uint8, pin_memory=self._pinned)
        return self._memory[:count]


def _fill(
    file: BinaryIO, stored: Stored, columns: slice | None, tensor: Tensor, buffer: _Buffer
) -> Iterator[int]:
    """Read a tensor in chunks, and keep its columns; yields the bytes of each chunk."""
    file.seek(stored.first)
    source = stored.torch_dtype
    in_place = tensor.device.type == "cpu" and tensor.dtype == source and columns is None
    # of whole rows where columns are taken of them
    grain = 1 if columns is None else stored.shape[1]
    step = max(_CHUNK_BYTES // source.itemsize // grain, 1) * grain
    total, flat = math.prod(stored.shape), tensor.view(-1)
    for start in range(0, total, step):
        size = min(step, total - start)
        count = size * source.itemsize
        raw = flat[start : start + size].view(torch.uint8) if in_place else buffer.take(count)
        _read_exactly(file, _bytes(raw))
        if columns is not None:
            first = start // grain
            tensor[first : first + size // grain].copy_(raw.view(source).view(-1, grain)[:, columns])
        elif not in_place:
            flat[start : start + size].copy_(raw.view(source))
        yield count


def _read_exactly(file: BinaryIO, target: memoryview) -> None:
    while target.nbytes:
        count = file.readinto(target)  # type: ignore[attr-defined] # of an unbuffered file
        if not count:
            raise EOFError("it ends early; was it changed meanwhile?")
        target = target[count:]


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a tensor on the CPU."""
    return memoryview(tensor.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _header(
    names: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
    sizes: Mapping[str, int],
    dtype_of: Callable[[str], torch.dtype],
) -> bytes:
    """What a file with these tensors begins with."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        first, end = end, end + sizes[name]
        kind = _NAMES[dtype_of(name)]
        entries[name] = {"dtype": kind, "shape": list(shapes[name]), "data_offsets": [first, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _split(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Fill shards in the order of the tensors."""
    shards: list[list[str]] = [[]]
    room = shard_bytes
    for name, size in sizes.items():
        if size > room and shards[-1]:
            shards.append([])
            room = shard_bytes
        shards[-1].append(name)
        room -= size
    return shards
