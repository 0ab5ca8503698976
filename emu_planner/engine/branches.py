"""The sequence that is generated and, for guidance, the unconditional one that goes with it.

Row 0 holds the whole sequence. Row 1 holds the unconditional prompt and every generated image from
BOI to EOI, never generated text (the published "no_text" guidance); inside images both rows take
each token in one pass. Without guidance there is no row 1. Knows no sampling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from emu_planner.engine.cache import StaticCache
from emu_planner.model.transformer import Transformer


class Branches:
    """Model, cache and rows of one generation.

    Args:
        model: the language model.
        capacity: most tokens in a row.
        unconditional: prompt of row 1, BOS to BSS; None: no guidance.
    """

    def __init__(
        self, model: Transformer, *, capacity: int, unconditional: Sequence[int] | None = None
    ) -> None:
        weight = model.model.embed_tokens.weight
        self.guided = unconditional is not None
        # forward passes of the model so far
        self.passes = 0
        self._model = model
        self._device = weight.device
        self._unconditional = list(unconditional or ())
        self._cache = StaticCache(
            model.config,
            rows=1 + self.guided,
            capacity=capacity,
            device=self._device,
            dtype=weight.dtype,
        )

    @property
    def length(self) -> int:
        """Tokens in the sequence so far."""
        return self._cache.lengths[0]

    @property
    def room(self) -> int:
        """Tokens of an image that still fit."""
        lengths = self._cache.lengths
        return self._cache.capacity - max(lengths[0], lengths[-1] + len(self._unconditional))

    @torch.inference_mode()
    def extend(self, tokens: Sequence[int], *, image: bool) -> Tensor:
        """Take tokens; the hidden state [rows, width] after the last of them.

        Args:
            tokens: the next ones, at least one.
            image: they belong to an image: row 1, if there is one, takes them too.

        Raises:
            ContextFullError: there is no room for them.
        """
        if image:
            return self.extend_image(tokens)[:, -1]
        return self._run([0], tokens)[:, -1]

    @torch.inference_mode()
    def extend_image(self, tokens: Sequence[int]) -> Tensor:
        """Take tokens of an image; the hidden states [rows, S, width] after each of them."""
        if self._unconditional:
            self._run([1], self._unconditional)
            self._unconditional = []
        return self._run(range(1 + self.guided), tokens)

    def retract_image(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of an image, as if they had never come."""
        self._cache.truncate(range(1 + self.guided), tokens)

    @torch.inference_mode()
    def logits(self, hidden: Tensor, first: int, stop: int) -> Tensor:
        """Logits [..., stop - first] float32 of that range of ids, of hidden states [..., width]."""
        return self._model.head(hidden, slice(first, stop))

    def _run(self, rows: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """One pass; the hidden states [rows, S, width] after each token."""
        self.passes += 1
        device, new = self._device, len(tokens)
        ids = torch.tensor([tokens], device=device).expand(len(rows), -1)
        window = self._cache.append(rows, new)
        if max(window.starts) == 0:
            return self._model.hidden(ids, cache=window)
        starts = window.starts[:1] if len(set(window.starts)) == 1 else window.starts
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(new, device=device)
        mask = torch.arange(window.shown, device=device) <= positions[:, None, :, None]
        return self._model.hidden(ids, cache=window, positions=positions, mask=mask)
