"""Samples packed into rows of a fixed length, with document numbers and loss weights.

A sample never crosses a row's end; what does not fit opens the next row. Attention is kept
inside a sample by the document numbers, positions start again at 0 in each.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """Who sees whom in a sample that is more than one sequence: [S] each.

    A token sees the tokens of block 0 that stand before its horizon, and all of its own block but 0.
    """

    # 0: the sequence itself; 1, 2 ...: blocks of tokens that see each other
    blocks: NDArray[np.int32]
    # where a token stands in the sequence, or would stand
    positions: NDArray[np.int64]
    horizons: NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """One token sequence, and for each token how much predicting it counts: [S] each."""

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    # None: one sequence, each token sees itself and those before it
    layout: Layout | None = None


@dataclass(frozen=True)
class PackedBatch:
    """Rows of samples: all arrays [rows, context]. Padding has document -1 and weight 0.

    `weights` belong to `targets`: position s predicts targets[s] = ids[s + 1] of the same document.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    documents: NDArray[np.int32]
    positions: NDArray[np.int64]
    # see Layout; blocks are numbered within a document
    blocks: NDArray[np.int32]
    horizons: NDArray[np.int64]

    @property
    def filled(self) -> float:
        """Share of positions that hold a token."""
        return float((self.documents >= 0).mean())


def pack(samples: Iterable[Sample], *, rows: int, context: int, pad: int) -> Iterator[PackedBatch]:
    """Fill batches of `rows` rows of `context` tokens; first row with room takes the sample.

    Samples longer than `context` are cut at its end. The last batch may be partly empty.
    """
    batch = _Batch(rows, context, pad)
    for sample in samples:
        if not batch.add(sample):
            yield batch.close()
            batch = _Batch(rows, context, pad)
            batch.add(sample)
    if batch.documents.max() >= 0:
        yield batch.close()


class _Batch:
    """A batch that is being filled."""

    def __init__(self, rows: int, context: int, pad: int) -> None:
        self.context = context
        self.used = [0] * rows
        self.count = 0
        self.ids = np.full((rows, context), pad, np.int64)
        self.targets = np.full((rows, context), pad, np.int64)
        self.weights = np.zeros((rows, context), np.float32)
        self.documents = np.full((rows, context), -1, np.int32)
        self.positions = np.zeros((rows, context), np.int64)
        self.blocks = np.zeros((rows, context), np.int32)
        # empty positions see each other: attention to nothing is no number
        self.horizons = np.ones((rows, context), np.int64)

    def add(self, sample: Sample) -> bool:
        """Put the sample into the first row with room; False when there is none."""
        length = min(len(sample.ids), self.context)
        row = next((row for row, used in enumerate(self.used) if used + length <= self.context), None)
        if row is None:
            return False
        start, end = self.used[row], self.used[row] + length
        self.ids[row, start:end] = sample.ids[:length]
        self.targets[row, start : end - 1] = sample.ids[1:length]
        self.weights[row, start : end - 1] = sample.weights[1:length]
        self.documents[row, start:end] = self.count
        self.positions[row, start:end] = np.arange(length)
        self.horizons[row, start:end] = np.arange(1, length + 1)
        if sample.layout is not None:
            for name in ("blocks", "positions", "horizons"):
                getattr(self, name)[row, start:end] = getattr(sample.layout, name)[:length]
        self.used[row] = end
        self.count += 1
        return True

    def close(self) -> PackedBatch:
        """The finished batch."""
        return PackedBatch(
            self.ids, self.targets, self.weights, self.documents, self.positions, self.blocks, self.horizons
        )
