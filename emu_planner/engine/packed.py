"""One forward pass for many sessions: their new tokens behind each other in one row of ids.

Linear layers, where the time goes, see one long row. Attention is computed for each session on views
of its own keys and values, all rows of its guidance at once: nothing is padded and nothing gathered.
Knows no sampling and no state of a session.

Shapes: N tokens of the pass, R rows and S tokens of a segment, K key/value heads, H query heads, D
head size, T tokens attended to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emu_planner.engine.arena import Arena, Lease
from emu_planner.engine.branches import SLOTS
from emu_planner.model.transformer import Transformer, attention, mask_scores


@dataclass(frozen=True)
class Segment:
    """What one session reads in a pass: the same tokens in each of some adjacent rows of its lease."""

    lease: Lease
    rows: range
    tokens: Sequence[int]

    @property
    def size(self) -> int:
        """Tokens of the pass that it takes."""
        return len(self.rows) * len(self.tokens)


class PackedPass:
    """The PackedCache of one pass; the leases' lengths grow at once, so the pass must follow.

    Args:
        arena: that the leases are of.
        segments: at least one; of different leases.

    Raises:
        ContextFullError: a segment has no room. Check before.
    """

    def __init__(self, arena: Arena, segments: Sequence[Segment]) -> None:
        self._arena = arena
        self._parts: list[_Part] = []
        ids: list[int] = []
        positions, vectors, elements, strides = [], [], [], []
        heads, size = arena.heads, arena.size
        for segment in segments:
            lease, new = segment.lease, len(segment.tokens)
            starts = np.array(lease.append(segment.rows, new))
            at = starts[:, None] + np.arange(new)  # [R, S]
            row = lease.begin + np.array(segment.rows)[:, None] * lease.stride
            positions.append(at.ravel())
            vectors.append((row * heads + at).ravel())
            elements.append((row * heads * size + at).ravel())
            strides.append(np.full(at.size, lease.stride))
            self._parts.append(_Part(segment, len(ids), at))
            ids += list(segment.tokens) * len(segment.rows)
        self.ids = torch.tensor([ids])
        self.positions = torch.from_numpy(np.concatenate(positions))[None]
        # where the new tokens' keys and values go: vectors [N, K] of D, and elements [N, K * D]
        stride = torch.from_numpy(np.concatenate(strides))[:, None]
        vectors_N1, elements_N1 = (torch.from_numpy(np.concatenate(n))[:, None] for n in (vectors, elements))
        self._vectors = (vectors_N1 + stride * torch.arange(heads)).flatten()
        self._elements = (elements_N1 + stride * torch.arange(heads * size)).flatten()
        self._here: dict[torch.device, tuple[Tensor, Tensor, list[Tensor | None]]] = {}

    def run(self, model: Transformer) -> Tensor:
        """The pass; the hidden states [sum of R, width] after the last token of every row, in order."""
        device = model.model.embed_tokens.weight.device
        ids, positions = self.ids.to(device), self.positions.to(device)
        hidden = model.hidden(ids, positions=positions, cache=self)[0]
        last = [place for part in self._parts for place in part.ends]
        return hidden[torch.tensor(last, device=hidden.device)]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See PackedCache."""
        vectors, of_keys, masks = self._bring(q.device)
        keys, values = self._arena.keys[layer], self._arena.values[layer]
        new_k, new_v = k[0].transpose(0, 1), v[0].transpose(0, 1)  # [N, K, D]
        values.view(-1, v.shape[3]).index_copy_(0, vectors, new_v.reshape(-1, v.shape[3]))
        size = 1 if of_keys is self._elements else k.shape[3]
        keys.view(-1, size).index_copy_(0, of_keys, new_k.reshape(-1, size))
        queries = q[0].transpose(0, 1)  # [N, H, D]
        out = torch.empty_like(queries, memory_format=torch.contiguous_format)
        for part, mask in zip(self._parts, masks, strict=True):
            shape = (*part.shape, *queries.shape[1:])
            asking = queries[part.span].reshape(shape).transpose(1, 2)  # [R, H, S, D]
            seen = (part.rows, slice(None), slice(part.total))
            found = attention(asking, part.lease.keys[layer][seen], part.lease.values[layer][seen], mask)
            out[part.span].view(shape).copy_(found.transpose(1, 2))
        return out.transpose(0, 1)[None]

    def _bring(self, device: torch.device) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """Places of values and keys, and masks, on a device, once for all of its layers."""
        if device not in self._here:
            masks = [part.mask(device) for part in self._parts]
            vectors = self._vectors.to(device)
            # on a CPU each element of a key is apart: see Lease
            of_keys = self._elements if device.type == "cpu" else vectors
            self._here[device] = (vectors, of_keys, masks)
        return self._here[device]


class _Part:
    """A segment's place in the pass; positions [R, S] of its tokens."""

    def __init__(self, segment: Segment, begin: int, positions: np.ndarray) -> None:
        self.lease, self.shape = segment.lease, positions.shape
        self.span = slice(begin, begin + positions.size)
        self.rows = slice(segment.rows.start, segment.rows.stop)
        # as many slots as Branches shows, so that shapes recur and sums round as they do there
        self.total = min(-(-(int(positions.max()) + 1) // SLOTS) * SLOTS, self.lease.capacity)
        # the last token of each row
        self.ends = range(begin + positions.shape[1] - 1, begin + positions.size, positions.shape[1])
        self._positions = positions

    def mask(self, device: torch.device) -> Tensor | None:
        """Each token sees those up to itself in its own row: as from mask_scores."""
        slots = torch.arange(self.total, device=device)
        seen = slots <= torch.from_numpy(self._positions).to(device)[:, None, :, None]
        return mask_scores(seen, self.shape[1], self.total, device)
