"""Keys and values of prompts that were read before, so that an equal beginning is not read again.

Blocks of some tokens, found by all tokens from the sequence's beginning on: whoever asks, for whatever
row, gets them, because keys and values depend on nothing else. Bounded; the block that was used
longest ago goes first, and within a sequence the later one. Blocks are copied in and out, so nobody
holds one. Knows no session and no thread.

Shapes: B tokens of a block, K key/value heads, D head size.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count

import torch

from emu_planner.engine.arena import Arena, Lease

# a block's parent and its tokens
_Key = tuple[int, tuple[int, ...]]
_ROOT = 0


class PrefixStore:
    """For each layer one tensor [blocks, K, B, D] of keys and one of values.

    Args:
        arena: where sessions' keys and values are.
        blocks: most blocks kept; 0: none.
        block_tokens: tokens of a block; shorter rests are not kept.
    """

    def __init__(self, arena: Arena, *, blocks: int, block_tokens: int = 16) -> None:
        shape = (blocks, arena.heads, block_tokens, arena.size)
        self._keys = [torch.zeros(shape, device=t.device, dtype=t.dtype) for t in arena.keys]
        self._values = [torch.zeros(shape, device=t.device, dtype=t.dtype) for t in arena.values]
        self._tokens = block_tokens
        self._free = list(range(blocks))
        # place and own number of each block, that used longest ago first. Numbers never come again:
        # what a block that has gone was the parent of can no longer be found
        self._blocks: OrderedDict[_Key, tuple[int, int]] = OrderedDict()
        self._numbers = count(_ROOT + 1)

    def __len__(self) -> int:
        """Blocks that are kept now."""
        return len(self._blocks)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(tensor.nbytes for tensor in (*self._keys, *self._values))

    @torch.inference_mode()
    def restore(self, lease: Lease, row: int, tokens: Sequence[int]) -> int:
        """Fill an empty row with the longest known beginning of `tokens`; returns how many they are."""
        assert lease.lengths[row] == 0, "only an empty row can begin with a known prefix"
        found = list(self._walk(tokens))
        for key, _ in reversed(found):
            self._blocks.move_to_end(key)
        known = len(found) * self._tokens
        lease.append([row], known)
        if not found:
            return 0
        places = torch.tensor([place for _, place in found])
        for mine, theirs in self._pairs(lease):
            blocks = mine.index_select(0, places.to(mine.device)).transpose(0, 1)  # [K, blocks, B, D]
            theirs[row, :, :known].copy_(blocks.flatten(1, 2))
        return known

    @torch.inference_mode()
    def keep(self, lease: Lease, row: int, tokens: Sequence[int]) -> None:
        """Remember the whole blocks of `tokens`, which the row begins with."""
        assert lease.lengths[row] >= len(tokens), "the row has not read these tokens yet"
        fresh: list[tuple[int, int]] = []  # place, and number of the block in the sequence
        used: list[_Key] = []
        parent = _ROOT
        for index, block in enumerate(self._cut(tokens)):
            key = (parent, block)
            if key in self._blocks:
                self._blocks.move_to_end(key)
            else:
                # all that this sequence uses stands behind: when it comes up, there is nothing else
                place = self._free.pop() if self._free else self._forget_oldest(used)
                if place is None:
                    break
                self._blocks[key] = (place, next(self._numbers))
                fresh.append((place, index))
            used.append(key)
            parent = self._blocks[key][1]
        for key in reversed(used):
            self._blocks.move_to_end(key)
        if not fresh:
            return
        places, indices = (torch.tensor(numbers) for numbers in zip(*fresh, strict=True))
        whole = len(tokens) // self._tokens
        for mine, theirs in self._pairs(lease):
            blocks = theirs[row, :, : whole * self._tokens].unflatten(1, (whole, self._tokens))
            device = mine.device
            mine[places.to(device)] = blocks.index_select(1, indices.to(device)).transpose(0, 1)

    def _walk(self, tokens: Sequence[int]) -> Iterator[tuple[_Key, int]]:
        """Key and place of each known block from the beginning on."""
        parent = _ROOT
        for block in self._cut(tokens):
            key = (parent, block)
            if key not in self._blocks:
                return
            place, parent = self._blocks[key]
            yield key, place

    def _cut(self, tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
        for begin in range(0, len(tokens) - self._tokens + 1, self._tokens):
            yield tuple(tokens[begin : begin + self._tokens])

    def _forget_oldest(self, used: list[_Key]) -> int | None:
        """The place of the block used longest ago; None: it is the first of `used`, or there is none."""
        oldest = next(iter(self._blocks), None)
        if oldest is None or oldest == next(iter(used), None):
            return None
        return self._blocks.pop(oldest)[0]

    def _pairs(self, lease: Lease) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each tensor here and the lease's own of the same layer and kind."""
        yield from zip(self._keys, lease.keys, strict=True)
        yield from zip(self._values, lease.values, strict=True)
