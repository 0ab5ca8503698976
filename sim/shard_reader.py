"""Read a folder of shards, whatever its records are: a line of JSON each, pictures by offset.

Knows the two files of a shard; what a line means is told by a function. sim/data.py has the
records of plans, sim/lessons/ those of the other tasks.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

COUNTS = "counts.json"  # written last


class Framed(Protocol):
    """What every record has."""

    @property
    def shard(self) -> str:
        """The shard's name."""

    @property
    def seed(self) -> int:
        """What the record follows from."""

    @property
    def frames(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) of each picture in the shard's .frames file."""


R = TypeVar("R", bound=Framed)


class ShardReader(Generic[R]):
    """Iterates the records of all finished shards, in order; new shards show up in a new pass.

    Args:
        folder: of the shards.
        read: a record of a shard's name and the data of a line.
        command: what writes such a folder, for messages.
    """

    def __init__(self, folder: str | Path, read: Callable[[str, dict[str, Any]], R], command: str) -> None:
        self.folder, self.command = Path(folder), command
        self._read = read
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; write one with {command}")

    def __iter__(self) -> Iterator[R]:
        for shard in self.shards():
            yield from self.records(shard)

    def shards(self) -> list[str]:
        """Names of the finished shards, in order."""
        return sorted(path.stem for path in self.folder.glob("shard-*.jsonl"))

    @property
    def finished(self) -> bool:
        """Whether the writer has written all that it was asked for."""
        return (self.folder / COUNTS).exists()

    def records(self, shard: str) -> list[R]:
        """The records of one shard, in order."""
        with (self.folder / f"{shard}.jsonl").open(encoding="ascii") as lines:
            return [self._read(shard, json.loads(line)) for line in lines]

    def frame(self, record: R, index: int) -> NDArray[np.uint8]:
        """Picture `index` of a record, [H, W, 3] uint8 RGB."""
        offset, length = record.frames[index]
        with (self.folder / f"{record.shard}.frames").open("rb") as file:
            file.seek(offset)
            return decode_png(file.read(length))


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """PNG to [H, W, 3] uint8 RGB. ValueError: not a picture."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{len(data)} bytes are no PNG; the .frames file is damaged, write it again")
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def encode_png(rgb: NDArray[np.uint8], effort: int = 1) -> bytes:
    """[H, W, 3] uint8 RGB to PNG; effort 1 is fast, 9 small."""
    ok, data = cv2.imencode(".png", rgb[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, effort])
    if not ok:
        raise ValueError(f"OpenCV cannot write a PNG of shape {rgb.shape}")
    return data.tobytes()
