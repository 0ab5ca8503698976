"""Packing keeps samples whole, apart, and weighted."""

import numpy as np

from emu_planner.training.packing import Sample, pack


def sample(first: int, length: int) -> Sample:
    return Sample(np.arange(first, first + length, dtype=np.int32), np.full(length, 0.5, np.float32))


def test_targets_are_the_next_token_of_the_same_document():
    batch = next(pack([sample(100, 4), sample(200, 3)], rows=1, context=8, pad=0))
    assert batch.ids.tolist() == [[100, 101, 102, 103, 200, 201, 202, 0]]
    assert batch.targets[0, :3].tolist() == [101, 102, 103]
    assert batch.weights.tolist() == [[0.5, 0.5, 0.5, 0, 0.5, 0.5, 0, 0]]
    assert batch.documents.tolist() == [[0, 0, 0, 0, 1, 1, 1, -1]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]


def test_every_sample_lands_once_and_none_crosses_a_row():
    lengths = np.random.default_rng(0).integers(1, 30, 200)
    samples = [sample(1000 * (i + 1), int(n)) for i, n in enumerate(lengths)]
    seen = []
    for batch in pack(samples, rows=3, context=32, pad=0):
        for row in range(3):
            for document in sorted(set(batch.documents[row]) - {-1}):
                ids = batch.ids[row][batch.documents[row] == document]
                seen.append((ids[0], len(ids)))
    assert sorted(seen) == [(1000 * (i + 1), n) for i, n in enumerate(lengths)]


def test_a_sample_longer_than_a_row_is_cut():
    (batch,) = pack([sample(1, 50)], rows=1, context=8, pad=0)
    assert batch.ids.tolist() == [list(range(1, 9))]
