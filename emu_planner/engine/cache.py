"""Keys and values of the tokens so far, in memory allocated once.

Rows may have different lengths; each is contiguous from slot 0. Knows no token and no guidance.

Shapes: R rows, K key/value heads, C slots, S new tokens, D head size.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from emu_planner.model.transformer import TransformerConfig


class ContextFullError(Exception):
    """The sequence has outgrown the cache."""


class StaticCache:
    """One tensor [R, K, C, D] a layer for keys and one for values.

    Args:
        config: of the model whose keys and values these are.
        rows: sequences kept side by side.
        capacity: most tokens in a row.
        device, dtype: those of the model; a device for each layer of a model that is spread.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        rows: int,
        capacity: int,
        device: torch.device | str | Sequence[torch.device] = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (rows, config.num_key_value_heads, capacity, config.head_dim)
        if isinstance(device, (str, torch.device)):
            device = [torch.device(device)] * config.num_hidden_layers
        assert len(device) == config.num_hidden_layers
        # Zeros, not empty: a masked slot must not hold NaN, because 0 x NaN is NaN.
        self.keys = [torch.zeros(shape, device=place, dtype=dtype) for place in device]
        self.values = [torch.zeros(shape, device=place, dtype=dtype) for place in device]
        # Slots innermost in memory on a CPU: q K^T in bfloat16 then needs no copy, and is twice as fast.
        self.keys = [
            keys.transpose(2, 3).contiguous().transpose(2, 3) if keys.device.type == "cpu" else keys
            for keys in self.keys
        ]
        # slots of a row, and how many of them may be used
        self.memory = self.capacity = capacity
        self.lengths = [0] * rows

    def view(self, rows: int, capacity: int | None = None) -> "StaticCache":
        """An empty cache of at most `capacity` tokens a row in the memory of the first rows."""
        capacity = self.memory if capacity is None else capacity
        assert rows <= len(self.lengths)
        assert capacity <= self.memory
        part = copy.copy(self)
        part.keys, part.values = [keys[:rows] for keys in self.keys], [v[:rows] for v in self.values]
        part.capacity, part.lengths = capacity, [0] * rows
        return part

    @torch.inference_mode()
    def clear(self) -> None:
        """Zeros as in new memory: what a broken answer left must not come into the next one."""
        self.lengths = [0] * len(self.lengths)
        for slots in (*self.keys, *self.values):
            slots.zero_()

    def append(self, rows: Sequence[int], new: int, *, multiple_of: int = 1) -> "CacheWindow":
        """Where one forward pass puts `new` tokens of each of these adjacent rows.

        The rows' lengths grow at once; the pass must follow. It sees the slots up to the longest
        row's new end, or on to the next multiple of `multiple_of`; it must mask those beyond.

        Raises:
            ContextFullError: a row has no room for them; nothing has changed.
        """
        starts = [self.lengths[row] for row in rows]
        if max(starts) + new > self.capacity:
            raise ContextFullError(f"{max(starts)} + {new} tokens exceed the context of {self.capacity}")
        for row in rows:
            self.lengths[row] += new
        shown = -(-(max(starts) + new) // multiple_of) * multiple_of
        return CacheWindow(self, rows, starts, new, min(shown, self.capacity))

    def truncate(self, rows: Sequence[int], tokens: int) -> None:
        """Forget the last `tokens` tokens of each of these rows; later ones are written over them."""
        assert all(0 <= tokens <= self.lengths[row] for row in rows)
        for row in rows:
            self.lengths[row] -= tokens


class CacheWindow:
    """The `Cache` of one forward pass: writes after `starts`, shows each row's first `shown` slots."""

    def __init__(
        self, cache: StaticCache, rows: Sequence[int], starts: list[int], new: int, shown: int
    ) -> None:
        self.starts, self.new, self.shown = starts, new, shown
        self._cache, self._rows = cache, rows
        self._slice = slice(rows[0], rows[-1] + 1)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [R, K, S, D]; return that layer's [R, K, shown, D]."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        for index, (row, start) in enumerate(zip(self._rows, self.starts, strict=True)):
            keys[row, :, start : start + self.new] = k[index]
            values[row, :, start : start + self.new] = v[index]
        return keys[self._slice, :, : self.shown], values[self._slice, :, : self.shown]
