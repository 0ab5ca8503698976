"""Shards and pictures as they are written, and pictures held where training runs.

A picture of 384x192 px takes 221 kB: 100,000 fit a large accelerator; on a CPU take fewer.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sim.shard_reader import Framed, ShardReader

_POLL_S = 1.0
_PATIENCE_S = 180.0


def load_frames(reader: ShardReader[Any], records: Sequence[Framed], *, workers: int = 8) -> Tensor:
    """Pictures [N, H, W, 3] uint8 of the records, in their order.

    Args:
        workers: threads that decode.

    Raises:
        ValueError: there are no records.
    """
    places = [(record, index) for record in records for index in range(len(record.frames))]
    if not places:
        raise ValueError(f"no episodes in {reader.folder}; make some with: {reader.command}")
    return _decode(reader, places, workers)


class Follower:
    """Calls `take` with the records of each shard, in a thread, as shards appear.

    An error in that thread is raised by the next call of `wait` or `check`.

    Args:
        ready: whether a finished shard can be taken yet.
    """

    def __init__(
        self,
        reader: ShardReader[Any],
        take: Callable[[list[Any]], None],
        ready: Callable[[str], bool] = lambda _shard: True,
    ) -> None:
        self.shards = 0  # read so far
        self._reader, self._take, self._ready = reader, take, ready
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="shards")
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread, if something did."""
        if self._error is not None:
            raise self._error

    def wait(self, enough: Callable[[], bool]) -> None:
        """Until `enough()`, or the writer is done and all is read, or nothing new came for minutes."""
        news_s, shards = time.monotonic(), self.shards
        while not enough():
            self.check()
            if self.shards != shards:
                news_s, shards = time.monotonic(), self.shards
            all_read = self._reader.finished and shards == len(self._reader.shards())
            if all_read or time.monotonic() - news_s > _PATIENCE_S:
                return
            time.sleep(0.05)

    def close(self) -> None:
        """End the thread after the shard that it is reading."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        seen: set[str] = set()
        try:
            while not self._stop.is_set():
                fresh = [n for n in self._reader.shards() if n not in seen and self._ready(n)]
                for name in fresh:
                    self._take(self._reader.records(name))
                    seen.add(name)
                    self.shards += 1
                    if self._stop.is_set():
                        return
                self._stop.wait(0.0 if fresh else _POLL_S)
        except BaseException as error:  # handed to whoever waits
            self._error = error


class FramePool:
    """Pictures of a folder that may still grow, on the device that trains, in pairs a step apart.

    Args:
        reader: the folder.
        limit: most pictures to hold; memory for all of them is taken with the first.
        device: where they are held.
    """

    def __init__(self, reader: ShardReader[Any], *, limit: int, device: torch.device) -> None:
        self._reader, self._limit, self._device = reader, limit, device
        self._frames = torch.empty(0)
        self._count, self._full = 0, False
        # rows whose next row is the same scene, a step later
        self._pairs = torch.empty(0, dtype=torch.long)
        self._follower = Follower(reader, self._take)

    def __len__(self) -> int:
        return self._count

    def wait(self, pictures: int) -> None:
        """Until that many are there, or as many as will come.

        Raises:
            ValueError: there are none, none has a next one, or not one episode fits the limit.
        """
        self._follower.wait(lambda: self._full or self._count >= pictures)
        if not len(self._pairs):
            raise ValueError(
                f"no episode of at most {self._limit} pictures in {self._reader.folder}; "
                f"write some with {self._reader.command}"
            )

    def draw(self, pairs: int, generator: torch.Generator) -> Tensor:
        """Pictures [2 pairs, H, W, 3] uint8: scenes drawn at random, then the same a step later."""
        self._follower.check()
        known = self._pairs
        first = known[torch.randint(len(known), (pairs,), generator=generator)]
        return self._frames[torch.cat((first, first + 1)).to(self._device)]

    def close(self) -> None:
        """Stop following the folder."""
        self._follower.close()

    def _take(self, records: list[Any]) -> None:
        if self._full or not records:
            return
        # where each episode would end
        ends = self._count + np.cumsum([len(record.frames) for record in records])
        kept = records[: int(np.searchsorted(ends, self._limit, side="right"))]
        if kept:
            self._add(kept)
        self._full = len(kept) < len(records)

    def _add(self, records: list[Any]) -> None:
        fresh = load_frames(self._reader, records)
        if not self._count:
            self._frames = torch.empty(
                (self._limit, *fresh.shape[1:]), dtype=torch.uint8, device=self._device
            )
        self._frames[self._count : self._count + len(fresh)] = fresh.to(self._device)
        # a new tensor, not one that grows: a draw in the other thread holds the old one
        self._pairs = torch.cat((self._pairs, self._count + followed(records)))
        self._count += len(fresh)


def followed(records: Sequence[Framed]) -> Tensor:
    """Rows of pictures that have a next one in the same episode, [M]; the next is row + 1."""
    rows: list[int] = []
    first = 0
    for record in records:
        rows += range(first, first + len(record.frames) - 1)
        first += len(record.frames)
    return torch.tensor(rows, dtype=torch.long)


def _decode(reader: ShardReader[Any], places: Sequence[tuple[Framed, int]], workers: int) -> Tensor:
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
