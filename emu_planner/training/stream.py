"""Episodes as they are written: a run begins while the simulator still works, and never waits for it.

Every finished shard is read once, by a thread of its own. Whether an episode is held out follows
from its seed, so what was held out stays so, whatever is written when. In which order episodes
come depends on the writer: two runs beside a writer are alike, not equal. Knows no token and no
loss.
"""

import threading
import uuid
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from emu_planner.training.frames import Follower, load_frames
from sim.data import Record
from sim.language import describe
from sim.shard_reader import Framed, ShardReader

# codes [N, h, w] of pictures [N, H, W, 3] uint8
Encode = Callable[[Tensor], NDArray[np.uint16]]

# the language model never learns from one episode in so many
_HELD_OUT = 32


@dataclass(frozen=True)
class CodedEpisode:
    """An episode whose pictures are codes: grids [steps + 1, h, w]."""

    instruction: str
    subgoals: tuple[str, ...]
    grids: NDArray[np.uint16]
    # what stands where in each picture, in words
    captions: tuple[str, ...] = ()


C = TypeVar("C")


class Pool(ABC, Generic[C]):
    """Coded episodes of a folder that may still grow; a draw takes one of those used least.

    Args:
        reader: the folder.
        encode: codes [N, h, w] of pictures [N, H, W, 3] uint8; None: other processes code (coding.py),
            and a shard is taken when its codes are there.
        codes: folder in which the codes of each shard are kept for a run that goes on.
        seed: of the order of draws.
        most: episodes to learn from, the first that come; None: all. What is held out stays the same.
        check: asked while codes of others are waited for; raises when they will not come.
    """

    def __init__(
        self,
        reader: ShardReader[Any],
        encode: Encode | None,
        *,
        codes: Path,
        seed: int = 0,
        most: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.held_out: list[C] = []
        self._reader, self._encode, self._codes = reader, encode, codes
        self._check_coders, self._most = check, most
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._learned: list[C] = []
        self._round: list[int] = []  # of this round, still to be drawn
        codes.mkdir(parents=True, exist_ok=True)
        self._follower = Follower(reader, self._take, self._is_ready)

    def __len__(self) -> int:
        return len(self._learned)

    def wait(self, episodes: int) -> None:
        """Until that many can be learned from, or as many as will come.

        Raises:
            ValueError: there is nothing to learn from, or nothing held out.
        """
        self._follower.wait(lambda: len(self) >= episodes and bool(self.held_out))
        if not (self._learned and self.held_out):
            if self._encode is None and self._follower.shards < len(self._reader.shards()):
                raise ValueError(
                    f"no codes came into {self._codes}: is the run that codes under way, with the "
                    "same --data and vision tokenizer?"
                )
            raise ValueError(
                f"{self._reader.folder} holds {len(self)} episodes to learn from and "
                f"{len(self.held_out)} held out; expected one or more of each: write more with "
                f"{self._reader.command} (one seed in 32 is held out)"
            )

    def episodes(self) -> list[C]:
        """Those that can be learned from so far."""
        with self._lock:
            return list(self._learned)

    def draw(self) -> C:
        """An episode; all are drawn once before any is drawn again, new ones join the round."""
        self._follower.check()
        with self._lock:
            if not self._round:
                self._round = self._rng.permutation(len(self._learned)).tolist()
            return self._learned[self._round.pop()]

    def close(self) -> None:
        """Stop following the folder."""
        self._follower.close()

    @abstractmethod
    def _coded(self, records: Sequence[Any], codes: NDArray[np.uint16]) -> list[C]:
        """Records and the codes [N, h, w] of all their pictures, in the same order."""

    def _take(self, records: list[Any]) -> None:
        coded = self._coded(records, self._shard_codes(records)) if records else []
        with self._lock:
            for record, episode in zip(records, coded, strict=True):
                if is_held_out(record.seed):
                    self.held_out.append(episode)
                    continue
                if len(self._learned) == self._most:
                    continue
                place = int(self._rng.integers(len(self._round) + 1))
                self._round.insert(place, len(self._learned))
                self._learned.append(episode)

    def _is_ready(self, shard: str) -> bool:
        if self._encode is not None or codes_path(self._codes, shard).exists():
            return True
        self._check_coders()
        return False

    def _shard_codes(self, records: list[Any]) -> NDArray[np.uint16]:
        path = codes_path(self._codes, records[0].shard)
        if path.exists():
            codes = np.load(path, allow_pickle=False)
            if len(codes) == sum(len(record.frames) for record in records):
                return codes
        if self._encode is None:
            raise ValueError(f"{path} is not of the episodes of {self._reader.folder}; take another --codes")
        return code_shard(self._reader, records, self._encode, self._codes)


class EpisodePool(Pool[CodedEpisode]):
    """Plans, see Pool."""

    def _coded(self, records: Sequence[Record], codes: NDArray[np.uint16]) -> list[CodedEpisode]:
        return coded_episodes(records, codes)


def codes_path(folder: Path, shard: str) -> Path:
    """Where the codes of a shard are kept."""
    return folder / f"{shard}.npy"


def code_shard(
    reader: ShardReader[Any], records: Sequence[Framed], encode: Encode, folder: Path
) -> NDArray[np.uint16]:
    """Code all pictures of a shard's records and keep the codes [N, h, w]: the file is whole or not there."""
    codes = encode(load_frames(reader, records))
    keep_codes(codes_path(folder, records[0].shard), codes)
    return codes


def keep_codes(path: Path, codes: NDArray[np.uint16]) -> None:
    """Write codes [N, h, w]: whole or not at all, also where others write the same file meanwhile."""
    # a name of one's own: two that share one take it from under each other
    part = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.part")
    with part.open("wb") as file:
        np.save(file, codes)
    part.replace(path)


def is_held_out(seed: int) -> bool:
    """Whether the episode of a training seed is kept for the validation loss: one in 32, by hash."""
    return zlib.crc32(b"seed %d" % seed) % _HELD_OUT == 0


def coded_episodes(records: Sequence[Record], codes: NDArray[np.uint16]) -> list[CodedEpisode]:
    """Records and the codes [N, h, w] of all their pictures, in the same order, as episodes."""
    episodes, first = [], 0
    for record in records:
        grids = codes[first : first + len(record.frames)]
        first += len(record.frames)
        captions = tuple(map(describe, record.states))
        episodes.append(CodedEpisode(record.instruction, record.subgoals, grids, captions))
    return episodes


def draws(pool: Pool[C]) -> Iterator[C]:
    """Episodes for ever."""
    while True:
        yield pool.draw()
