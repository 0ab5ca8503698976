"""All pictures of a set of episodes as one tensor, held where training runs.

A picture of 384x192 px takes 221 kB: 100,000 fit a large accelerator; on a CPU take fewer.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sim.data import EpisodeReader, Record


def load_frames(
    reader: EpisodeReader,
    records: Sequence[Record],
    *,
    limit: int | None = None,
    seed: int = 0,
    workers: int = 8,
) -> Tensor:
    """Pictures [N, H, W, 3] uint8 of the records, in their order.

    Args:
        limit: at most that many, drawn at random without repetition.
        workers: threads that decode.

    Raises:
        ValueError: there are no records.
    """
    places = [(record, index) for record in records for index in range(len(record.frames))]
    if not places:
        raise ValueError(f"no episodes in {reader.folder}; make some with: emu-planner data sim")
    if limit is not None and limit < len(places):
        order = np.random.default_rng(seed).permutation(len(places))[:limit]
        places = [places[i] for i in sorted(order)]
    return _decode(reader, places, workers)


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
