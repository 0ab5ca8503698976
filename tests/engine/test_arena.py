"""Memory of sessions: pieces do not overlap, come back clean, and join again."""

import random

import pytest
import torch

from emu_planner.engine.arena import Arena
from emu_planner.engine.cache import ContextFullError
from emu_planner.model.transformer import TransformerConfig

CONFIG = TransformerConfig(32, 8, 8, 2, 2, 1, 4)


def make(cells=256):
    return Arena(CONFIG, cells=cells, devices=[torch.device("cpu")] * 2, dtype=torch.float32)


def fill(lease, value):
    lease.append(range(lease.rows), lease.capacity)
    for tensor in (*lease.keys, *lease.values):
        tensor[:, :, : lease.capacity] = value


def held(lease):
    return {float(v) for t in (*lease.keys, *lease.values) for v in t[:, :, : lease.capacity].flatten()}


def test_leases_do_not_overlap_and_all_comes_back():
    rng, arena, lent, refused = random.Random(0), make(), {}, 0
    for number in range(1, 400):
        rows, capacity = rng.randrange(1, 4), rng.randrange(1, 70)
        lease = arena.lend(rows, capacity)
        if lease is None:
            refused += 1
        else:
            assert held(lease) == {0.0}, "a session left something behind"
            fill(lease, float(number))
            lent[number] = lease
        for key in rng.sample(sorted(lent), k=len(lent) // 2):
            lease = lent.pop(key)
            assert held(lease) == {float(key)}
            arena.take_back(lease)
    assert refused > 50
    for lease in lent.values():
        arena.take_back(lease)
    assert arena.free == arena.cells
    assert arena.lend(2, 128) is not None, "the pieces did not join again"


def test_what_never_fits_is_known_before():
    arena = make(cells=96)
    assert arena.fits(2, 48)
    assert not arena.fits(2, 49)  # rows are rounded up to 16
    assert arena.lend(2, 49) is None


def test_a_piece_comes_back_once():
    arena = make()
    lease = arena.lend(1, 16)
    arena.take_back(lease)
    with pytest.raises(AssertionError, match="twice"):
        arena.take_back(lease)


def test_a_full_row_says_so_and_stays_as_it_was():
    lease = make().lend(2, 8)
    lease.append([0], 6)
    with pytest.raises(ContextFullError, match=r"6 \+ 3 tokens exceed the context of 8"):
        lease.append([0, 1], 3)
    assert lease.lengths == [6, 0]


def test_what_a_row_held_before_it_was_cut_is_wiped_too():
    arena = make()
    lease = arena.lend(1, 16)
    fill(lease, 3.0)
    lease.lengths[0] = 2
    arena.take_back(lease)
    assert not any(tensor.any() for tensor in (*arena.keys, *arena.values))


def test_bytes_are_those_of_its_tensors():
    # keys and values, 2 layers, 256 cells of 1 head of 4 floats
    assert make().nbytes == 2 * 2 * 256 * 4 * 4
