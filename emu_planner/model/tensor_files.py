"""What the tensor files of a folder hold (safetensors, in one file or shards), from their headers.

A file is an 8-byte length, that many bytes of JSON (name -> dtype, shape, first and last byte), then
the bytes of the tensors, little endian (huggingface.co/docs/safetensors). All headers are read
and compared with the model before the first tensor, so that a wrong checkpoint of 68 GB is refused at
once. Knows no model and reads no tensor.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from emu_planner.model.config_files import read_json
from emu_planner.model.errors import CheckpointError

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"

# the dtypes that a model may be stored in, by their names in a header
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_MOST_HEADER_BYTES = 100 * 2**20  # the format's own limit
_MOST_TOLD = 5


@dataclass(frozen=True)
class Stored:
    """A tensor in a file."""

    path: Path
    # as the file names it: "BF16"
    dtype: str
    shape: tuple[int, ...]
    # its bytes in the file: from the first to before the last
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.last - self.first

    @property
    def torch_dtype(self) -> torch.dtype:
        """The same as torch has it; for tensors that `check` has passed."""
        return DTYPES[self.dtype]


def has_tensors(folder: Path) -> bool:
    """Whether the folder holds tensors in this form."""
    return (folder / INDEX).is_file() or (folder / FILE).is_file()


def find(folder: Path) -> dict[str, Stored]:
    """All tensors of a folder by name, from the headers of its files.

    Raises:
        CheckpointError: a file is missing or damaged, or does not hold what the index says.
    """
    index = folder / INDEX
    if not index.is_file():
        if not (folder / FILE).is_file():
            _lacks_tensors(folder)
        return read_header(folder / FILE)
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; copy or download it again")
    names = sorted(set(map(str, weight_map.values())))
    if outside := [name for name in names if Path(name).name != name]:
        raise CheckpointError(f"{index} names files outside its folder: {_few(outside)}")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder} lacks {_few(absent)}, {len(absent)} of the {len(names)} files that {INDEX} names; "
            "is the download complete?"
        )
    found: dict[str, Stored] = {}
    for name in names:
        for tensor, stored in read_header(folder / name).items():
            if tensor in found:
                raise CheckpointError(f"{tensor} is in {found[tensor].path.name} and again in {name}")
            found[tensor] = stored
    misplaced = [
        f"{tensor} (in {name})"
        for tensor, name in weight_map.items()
        if tensor not in found or found[tensor].path.name != name
    ]
    if misplaced:
        raise CheckpointError(f"{index} names tensors that are not where it says: {_few(misplaced)}")
    return found


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of one file.

    Raises:
        CheckpointError: it cannot be read, is no such file, or is truncated.
    """
    try:
        size, text = _read_header_text(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}; check its permissions and the disk, or copy "
            "or download it again"
        ) from error
    length = len(text)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            first, last = (8 + length + int(offset) for offset in entry["data_offsets"])
            found[name] = Stored(path, str(entry["dtype"]), tuple(map(int, entry["shape"])), first, last)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: its header is damaged ({error})") from error
    end = 8 + length
    for stored in sorted(found.values(), key=lambda stored: (stored.first, stored.last)):
        if stored.first != end or stored.last < stored.first:
            raise CheckpointError(f"{path} is damaged: its tensors overlap or leave gaps at byte {end}")
        end = stored.last
    if size != end:
        state = "truncated" if size < end else "damaged"
        raise CheckpointError(
            f"{path} is {state}: it has {size} bytes, its header says {end}; copy or download it again"
        )
    return found


def _read_header_text(path: Path) -> tuple[int, bytes]:
    """(bytes of the file, its JSON). CheckpointError, OSError: as read_header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= _MOST_HEADER_BYTES:
            what = _other_kind(start + file.read(64))
            raise CheckpointError(f"{path} is not a safetensors file{what}; copy or download it again")
        if size < 8 + length:
            raise CheckpointError(f"{path} is truncated: it ends at byte {size}, inside its header")
        return size, file.read(length)


def check(folder: Path, expected: Mapping[str, Sequence[int]], found: Mapping[str, Stored]) -> None:
    """Compare tensors found with those that a model needs, by name, shape and dtype.

    Raises:
        CheckpointError: names the first few that are missing, unexpected or of another kind.
    """
    compare(folder, expected, {name: stored.shape for name, stored in found.items()})
    wrong = []
    for name, stored in found.items():
        if stored.dtype not in DTYPES:
            wrong.append(f"{name} is stored as {stored.dtype}, expected one of {', '.join(DTYPES)}")
        elif stored.nbytes != math.prod(stored.shape) * stored.torch_dtype.itemsize:
            wrong.append(f"{name} takes {stored.nbytes} bytes, which is not its shape {list(stored.shape)}")
    _refuse(folder, wrong)


def compare(folder: Path, expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> None:
    """The same for names and shapes alone."""
    wrong = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            wrong.append(f"{name} is missing, expected {list(expected[name])}")
        elif name not in expected:
            wrong.append(f"{name} {list(found[name])} is unexpected")
        elif list(expected[name]) != list(found[name]):
            wrong.append(f"{name} has shape {list(found[name])}, expected {list(expected[name])}")
    _refuse(folder, wrong)


def _lacks_tensors(folder: Path) -> None:
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if shards:
        raise CheckpointError(
            f"{folder} holds {_few(shards)}, but not {INDEX}, which says what is in them; "
            "is the download complete?"
        )
    others = sorted(path.name for path in folder.glob("*") if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    more = f" (it holds {_few(others)}: convert it to safetensors)" if others else ""
    raise CheckpointError(f"{folder} lacks {FILE} or {INDEX}{more}; is the download complete?")


def _other_kind(start: bytes) -> str:
    """What a file is instead, by how it begins."""
    if start.startswith(b"version https://git-lfs"):
        return " but a Git LFS pointer to one (run `git lfs pull`)"
    if start.lstrip()[:1] == b"<":
        return " but a page of HTML"
    return " but empty" if not start else ""


def _refuse(folder: Path, wrong: Sequence[str]) -> None:
    if wrong:
        told = "; ".join(wrong[:_MOST_TOLD])
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise CheckpointError(f"the tensors in {folder} do not fit its configuration: {told}{more}")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
