"""Prompts' keys and values that are kept: what comes back is what went in, and the oldest goes first."""

import random

import pytest
import torch

from emu_planner.engine.arena import Arena
from emu_planner.engine.prefixes import PrefixStore
from emu_planner.model.transformer import TransformerConfig

CONFIG = TransformerConfig(32, 8, 8, 2, 2, 2, 4)
BLOCK = 4


@pytest.fixture
def arena():
    return Arena(CONFIG, cells=256, devices=[torch.device("cpu")] * 2, dtype=torch.float32)


def store_of(arena, blocks):
    return PrefixStore(arena, blocks=blocks, block_tokens=BLOCK)


def value(tokens, layer, kind):
    """Keys and values [T, K * D] that depend on all tokens so far, as a model's do."""
    rows = []
    for end in range(1, len(tokens) + 1):
        seed = hash((tuple(tokens[:end]), layer, kind)) % 2**31
        rows.append(torch.rand(8, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(rows).view(len(tokens), 2, 4).transpose(0, 1)


def read(arena, tokens, row=0, rows=2):
    """A lease whose row has read these tokens."""
    lease = arena.lend(rows, 64)
    lease.append([row], len(tokens))
    check = [(lease.keys, "k"), (lease.values, "v")]
    for tensors, kind in check:
        for layer, tensor in enumerate(tensors):
            tensor[row, :, : len(tokens)] = value(tokens, layer, kind)
    return lease


def keep(store, arena, tokens, row=0):
    lease = read(arena, tokens, row)
    store.keep(lease, row, tokens)
    arena.take_back(lease)


def known(store, arena, tokens, row=0):
    """How many tokens come back; that they are right."""
    lease = arena.lend(2, 64)
    count = store.restore(lease, row, tokens)
    assert lease.lengths[row] == count
    if count:
        for layer in range(2):
            assert torch.equal(lease.keys[layer][row, :, :count], value(tokens[:count], layer, "k"))
            assert torch.equal(lease.values[layer][row, :, :count], value(tokens[:count], layer, "v"))
    arena.take_back(lease)
    return count


def test_whole_blocks_of_an_equal_beginning_come_back_in_any_row(arena):
    store = store_of(arena, 8)
    tokens = list(range(11))
    keep(store, arena, tokens, row=1)
    assert len(store) == 2
    assert known(store, arena, tokens) == 8
    assert known(store, arena, [*tokens[:8], 99, 98, 97, 96], row=1) == 8
    assert known(store, arena, [*tokens[:7], 99]) == 4
    assert known(store, arena, tokens[:3]) == 0
    # the same tokens elsewhere than at the beginning are another thing
    assert known(store, arena, tokens[4:]) == 0


def test_blocks_that_are_known_are_not_kept_twice(arena):
    store = store_of(arena, 8)
    keep(store, arena, list(range(8)))
    keep(store, arena, [*range(4), 9, 9, 9, 9])
    keep(store, arena, list(range(8)))
    assert len(store) == 3


def test_the_block_used_longest_ago_goes_and_later_ones_of_a_sequence_first(arena):
    store = store_of(arena, 4)
    first, second = list(range(8)), list(range(20, 28))
    keep(store, arena, first)
    keep(store, arena, second)
    assert known(store, arena, first) == 8  # used now: the second is the older one
    keep(store, arena, [30] * 4)
    assert known(store, arena, second) == 4
    assert known(store, arena, first) == 8
    keep(store, arena, [31] * 12)
    assert known(store, arena, [31] * 12) == 12
    assert len(store) == 4


def test_a_sequence_longer_than_the_store_keeps_its_beginning(arena):
    store = store_of(arena, 2)
    tokens = list(range(20))
    keep(store, arena, tokens)
    assert known(store, arena, tokens) == 8
    keep(store, arena, tokens)
    assert known(store, arena, tokens) == 8


def test_what_followed_a_block_that_went_is_not_taken_for_what_follows_its_heir(arena):
    store = store_of(arena, 2)
    keep(store, arena, [1] * 4 + [2] * 4)
    keep(store, arena, [3] * 4)
    keep(store, arena, [5] * 4)
    assert known(store, arena, [3] * 4 + [2] * 4) == 4
    assert known(store, arena, [5] * 4 + [2] * 4) == 4


def test_a_store_of_nothing_knows_nothing(arena):
    store = store_of(arena, 0)
    keep(store, arena, list(range(8)))
    assert known(store, arena, list(range(8))) == 0
    assert store.nbytes == 0


def test_many_sequences_in_a_small_store(arena):
    rng, store, hits = random.Random(1), store_of(arena, 6), 0
    for _ in range(300):
        tokens = [rng.randrange(2)] * 4 + [rng.randrange(2)] * 4 + [rng.randrange(3)] * rng.randrange(9)
        hits += known(store, arena, tokens) > 0
        keep(store, arena, tokens)
        assert len(store) <= 6
    assert hits > 50
    assert arena.free == arena.cells
