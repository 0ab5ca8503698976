"""All pictures of a set of episodes as one tensor, held where training runs.

A picture of 384x192 px takes 221 kB: 100,000 fit a large accelerator; on a CPU take fewer.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sim.data import EpisodeReader, Record


def load_frames(reader: EpisodeReader, records: Sequence[Record], *, workers: int = 8) -> Tensor:
    """Pictures [N, H, W, 3] uint8 of the records, in their order.

    Args:
        workers: threads that decode.

    Raises:
        ValueError: there are no records.
    """
    places = [(record, index) for record in records for index in range(len(record.frames))]
    if not places:
        raise ValueError(f"no episodes in {reader.folder}; make some with: emu-planner data sim")
    return _decode(reader, places, workers)


def choose_records(records: Sequence[Record], pictures: int | None, seed: int) -> list[Record]:
    """Records in random order with at most that many pictures in all; None: all of them."""
    order = np.random.default_rng(seed).permutation(len(records))
    chosen = [records[i] for i in order]
    if pictures is None:
        return chosen
    total = np.cumsum([len(record.frames) for record in chosen])
    return chosen[: max(1, int(np.searchsorted(total, pictures, side="right")))]


def followed(records: Sequence[Record]) -> Tensor:
    """Rows of pictures that have a next one in the same episode, [M]; the next is row + 1."""
    rows: list[int] = []
    first = 0
    for record in records:
        rows += range(first, first + len(record.frames) - 1)
        first += len(record.frames)
    return torch.tensor(rows)


def _decode(reader: EpisodeReader, places: Sequence[tuple[Record, int]], workers: int) -> Tensor:
    first = reader.frame(*places[0])
    out = torch.empty((len(places), *first.shape), dtype=torch.uint8)
    view = out.numpy()

    def decode(row: int) -> None:
        view[row] = reader.frame(*places[row])

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(decode, range(len(places)), chunksize=64):
            pass
    return out


def to_model(frames: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in [-1, 1], channels last in memory."""
    return frames.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_picture(images: Tensor) -> Tensor:
    """float [B, 3, H, W] in [-1, 1] -> uint8 [B, H, W, 3]."""
    return images.float().add(1).mul(127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
