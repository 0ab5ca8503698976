"""Memory for the keys and values of many sessions, allocated once and lent out in whole pieces.

A session's rows lie side by side in one contiguous piece, so attention reads plain views. Pages with
a table would have to be gathered in every layer of every pass, and would save nothing: a session is
admitted only when its longest answer has room, so that no session ever has to be thrown out for
another. What stays between sessions is in prefixes.py. Knows no token and no thread.

Shapes: R rows, K key/value heads, C tokens of a row, D head size. A cell holds one token of one row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from emu_planner.engine.cache import ContextFullError
from emu_planner.model.transformer import TransformerConfig

# rows hold multiples of it, so that they begin at aligned addresses
_GRAIN = 16


class Arena:
    """One flat tensor a layer for keys and one for values.

    Args:
        config: of the model whose keys and values these are.
        cells: tokens of all rows together.
        devices: of each layer.
        dtype: of the model.
    """

    def __init__(
        self, config: TransformerConfig, *, cells: int, devices: Sequence[torch.device], dtype: torch.dtype
    ) -> None:
        self.cells = cells
        self.heads, self.size = config.num_key_value_heads, config.head_dim
        count = cells * self.heads * self.size
        # Zeros, and zeroed again when they come back: a masked slot must not hold NaN, as 0 x NaN is NaN.
        self.keys = [torch.zeros(count, device=device, dtype=dtype) for device in devices]
        self.values = [torch.zeros(count, device=device, dtype=dtype) for device in devices]
        self._holes = [(0, cells)]  # free pieces, begin and end, in order; no two touch

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    @property
    def free(self) -> int:
        """Cells that are not lent."""
        return sum(end - begin for begin, end in self._holes)

    def fits(self, rows: int, capacity: int) -> bool:
        """Whether so much can ever be lent."""
        return rows * rounded(capacity) <= self.cells

    def lend(self, rows: int, capacity: int) -> "Lease | None":
        """The first free piece that holds that many rows of that many tokens; None: there is none now."""
        wanted = rows * rounded(capacity)
        for index, (begin, end) in enumerate(self._holes):
            if end - begin >= wanted:
                rest = [(begin + wanted, end)] if end - begin > wanted else []
                self._holes[index : index + 1] = rest
                return Lease(self, begin, rows, capacity)
        return None

    def take_back(self, lease: "Lease") -> None:
        """A lease ends; what its session left there is wiped out."""
        for row, used in enumerate(lease.highest):
            for tensor in (*lease.keys, *lease.values):
                tensor[row, :, :used] = 0
        pieces = sorted([*self._holes, (lease.begin, lease.begin + lease.rows * lease.stride)])
        self._holes = pieces[:1]
        for begin, end in pieces[1:]:
            last_begin, last_end = self._holes[-1]
            assert last_end <= begin, "a piece was given back twice"
            if last_end == begin:
                self._holes[-1] = (last_begin, end)
            else:
                self._holes.append((begin, end))


class Lease:
    """A session's piece: for each layer views [R, K, C, D] of keys and values, and how full rows are."""

    def __init__(self, arena: Arena, begin: int, rows: int, capacity: int) -> None:
        self.begin, self.rows, self.capacity = begin, rows, capacity
        self.lengths = [0] * rows
        self.highest = [0] * rows  # the greatest lengths so far
        unit = arena.heads * arena.size
        # cells from one row to the next
        self.stride = rounded(capacity)
        piece = slice(begin * unit, (begin + rows * self.stride) * unit)
        shape = (rows, arena.heads, self.stride, arena.size)
        self.keys = [self._shape_keys(keys[piece], shape) for keys in arena.keys]
        self.values = [values[piece].view(shape) for values in arena.values]

    def append(self, rows: Sequence[int], new: int) -> list[int]:
        """Room for `new` more tokens in each of these rows; returns where they begin.

        Raises:
            ContextFullError: a row has no room for them; nothing has changed.
        """
        starts = [self.lengths[row] for row in rows]
        self.check(rows, new)
        for row in rows:
            self.lengths[row] += new
            self.highest[row] = max(self.highest[row], self.lengths[row])
        return starts

    def check(self, rows: Sequence[int], new: int) -> None:
        """Raises ContextFullError when one of these rows has no room for `new` more tokens."""
        longest = max(self.lengths[row] for row in rows)
        if longest + new > self.capacity:
            raise ContextFullError(f"{longest} + {new} tokens exceed the context of {self.capacity}")

    @staticmethod
    def _shape_keys(flat: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        if flat.device.type != "cpu":
            return flat.view(shape)
        # slots innermost in memory, for the reason that cache.py gives
        rows, heads, slots, size = shape
        return flat.view(rows, heads, size, slots).transpose(2, 3)


def rounded(capacity: int) -> int:
    """Cells that a row of so many tokens takes."""
    return -(-capacity // _GRAIN) * _GRAIN
