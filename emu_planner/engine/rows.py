"""The rows of guidance spread over processes, each of which has the whole model.

A process computes its own rows, and hidden states are exchanged: every process then chooses the same
tokens from the same logits. The first has the sequence itself, and computes its words while the others
wait. Worth it where a pass has enough tokens to keep a GPU busy (dida's pictures, prompts), or where
contexts are long; a pass over one token reads all weights on each GPU all the same. Passes are not
recorded. Every process keeps memory for all rows.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from emu_planner.engine.branches import Branches
from emu_planner.engine.decoders import Generate
from emu_planner.engine.ranks import Ranks
from emu_planner.model.transformer import Transformer


class SplitBranches(Branches):
    """Branches of which this process computes some.

    Args:
        model, rows: as of Branches.
        ranks: the processes; all make the same calls in the same order.
    """

    def __init__(self, model: Transformer, ranks: Ranks, **rows: Any) -> None:
        super().__init__(model, **rows)
        self._ranks = ranks

    def _run(self, rows: Sequence[int], tokens: Sequence[int] | Tensor, *, mutual: int = 0) -> Tensor:
        """See Branches."""
        lengths, new = self.cache.lengths, len(tokens)
        if max(lengths[row] for row in rows) + new > self.cache.capacity:
            self.cache.append(rows, new)  # raises, in every process alike
        own = [place for place, row in enumerate(rows) if self._is_own(row)]
        width, weight = self._model.config.hidden_size, self._model.model.embed_tokens.weight
        hidden = torch.zeros(len(rows), new, width, dtype=weight.dtype, device=self._device)
        if own:
            mine = slice(own[0], own[-1] + 1)
            hidden[mine] = super()._run(rows[mine], tokens, mutual=mutual)
        else:
            self.passes += 1
        for row in rows:
            if not self._is_own(row):
                lengths[row] += new
        # each value is one process's, and zero in the others: the sum is exact
        dist.all_reduce(hidden, group=self._ranks.mesh.get_group())
        return hidden

    def _is_own(self, row: int) -> bool:
        """Whether a row is this process's; adjacent ones are, and the last process has what is left."""
        return min(row, self._ranks.size - 1) == self._ranks.rank


class SplitDecoder:
    """A Decoder whose rows of guidance are spread over processes."""

    def __init__(self, model: Transformer, generate: Generate, ranks: Ranks) -> None:
        self._model, self.generate, self._ranks = model, generate, ranks

    def branches(self, **rows: Any) -> SplitBranches:
        """As Branches."""
        return SplitBranches(self._model, self._ranks, **rows)
