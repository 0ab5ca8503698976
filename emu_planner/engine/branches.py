"""The sequence that is generated and, for guidance, the unconditional ones that go with it.

Row 0 holds the whole sequence. Row 1 holds the unconditional prompt and every generated image from
BOI to EOI, never generated text (the published "no_text" guidance). Row 2 holds the prompt without
words and without reference images, and the present image alone: it restarts at every BOI (the
published "no_text_img_cfg"). Each row has a cache of its own; inside images all rows take each
token in one pass. Without guidance there is row 0 only. Knows no sampling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from emu_planner.engine.cache import StaticCache
from emu_planner.model.spread import layer_devices
from emu_planner.model.transformer import Transformer

# The slots that a pass looks at are a multiple of this many: products of equal shapes recur, which
# CPU libraries need not prepare again, and a sum rounds alike in passes over one token and many.
SLOTS = 64


class Branches:
    """Model, cache and rows of one generation.

    Args:
        model: the language model.
        capacity: most tokens in a row.
        unconditional: prompt of row 1, BOS to BSS; None: no guidance.
        imageless: prompt of row 2, BOS to BSS; None: no such row. Needs `unconditional` and `boi`.
        boi: id of image start.
        cache: empty memory for these rows, if it shall not be new.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        capacity: int,
        unconditional: Sequence[int] | None = None,
        imageless: Sequence[int] | None = None,
        boi: int | None = None,
        cache: StaticCache | None = None,
    ) -> None:
        if imageless is not None and (unconditional is None or boi is None):
            raise ValueError("guidance without images needs the unconditional prompt and the id of BOI too")
        weight = model.model.embed_tokens.weight
        self.guided = unconditional is not None
        # forward passes of the model so far
        self.passes = 0
        self._model = model
        self._device = weight.device
        self._boi, self._restart = boi, len(imageless or ())
        # prompts of rows 1 and 2 until they are needed
        self._waiting = [list(prompt) for prompt in (unconditional, imageless) if prompt is not None]
        self._rows = list(range(1 + len(self._waiting)))
        self.cache = cache or StaticCache(
            model.config,
            rows=len(self._rows),
            capacity=capacity,
            device=layer_devices(model),
            dtype=weight.dtype,
        )

    @property
    def rows(self) -> int:
        """How many rows there are, those of guidance included."""
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where ids go in and logits come out."""
        return self._device

    @property
    def length(self) -> int:
        """Tokens in the sequence so far."""
        return self.cache.lengths[0]

    @property
    def room(self) -> int:
        """Tokens of an image that still fit."""
        held = list(self.cache.lengths)
        for row, prompt in enumerate(self._waiting, start=1):
            held[row] += len(prompt)
        return self.cache.capacity - max(held)

    @torch.inference_mode()
    def extend(self, tokens: Sequence[int], *, image: bool) -> Tensor:
        """Take tokens; the hidden state [rows, width] after the last of them.

        Args:
            tokens: the next ones, at least one.
            image: they belong to an image: the other rows, if there are any, take them too.

        Raises:
            ContextFullError: there is no room for them.
        """
        if image:
            return self.extend_image(tokens)[:, -1]
        return self._run([0], tokens)[:, -1]

    @torch.inference_mode()
    def extend_image(self, tokens: Sequence[int]) -> Tensor:
        """Take tokens of an image; the hidden states [rows, S, width] after each of them."""
        self._open_image(tokens[0])
        return self._run(self._rows, tokens)

    @torch.inference_mode()
    def look_at_block(self, tokens: Sequence[int], block: Tensor, *, guided: bool = True) -> Tensor:
        """Take tokens of an image, if any, and look at a block after them without taking it.

        The tokens of the block, ids [L], see all that came before and each other in both directions.

        Args:
            guided: look in all rows; else in row 0 alone, unless there are tokens to take.

        Returns:
            The hidden states [rows, L, width] of the block; of row 0 alone where it is not guided.

        Raises:
            ContextFullError: there is no room for them; none is taken.
        """
        rows = self._rows if guided or tokens else self._rows[:1]
        if tokens:
            self._open_image(tokens[0])
        taken = torch.tensor(list(tokens), device=self._device, dtype=block.dtype)
        hidden = self._run(rows, torch.cat((taken, block)), mutual=len(block))
        self.cache.truncate(rows, len(block))
        return hidden[: len(rows) if guided else 1, len(tokens) :]

    def claim_image(self, tokens: int) -> int:
        """Note that so many tokens of an image come into the cache without `extend`.

        Returns:
            The tokens in the longest row then.

        Raises:
            ContextFullError: there is no room for them.
        """
        assert not self._waiting, "an image has begun"
        self.passes += 1
        self.cache.append(self._rows, tokens)
        return max(self.cache.lengths)

    def retract_image(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of an image, as if they had never come."""
        self.cache.truncate(self._rows, tokens)

    @torch.inference_mode()
    def logits(self, hidden: Tensor, first: int, stop: int) -> Tensor:
        """Logits [..., stop - first] float32 of that range of ids, of hidden states [..., width]."""
        return self._model.head(hidden, slice(first, stop))

    def _open_image(self, token: int) -> None:
        """Before a token of an image: the other rows catch up, and row 2 begins again at BOI."""
        for row, prompt in enumerate(self._waiting, start=1):
            self._run([row], prompt)
        self._waiting = []
        if self._restart and token == self._boi:
            self.cache.truncate([2], self.cache.lengths[2] - self._restart)

    def _run(self, rows: Sequence[int], tokens: Sequence[int] | Tensor, *, mutual: int = 0) -> Tensor:
        """One pass; the hidden states [rows, S, width] after each token; the last `mutual` see each other."""
        self.passes += 1
        device, new = self._device, len(tokens)
        ids = torch.as_tensor(tokens, device=device)[None].expand(len(rows), -1)
        if not mutual and not any(self.cache.lengths[row] for row in rows):
            return self._model.hidden(ids, cache=self.cache.append(rows, new))
        window = self.cache.append(rows, new, multiple_of=SLOTS)
        starts = window.starts[:1] if len(set(window.starts)) == 1 else window.starts
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(new, device=device)
        seen = positions.clone()
        seen[:, new - mutual :] = positions[:, -1:]
        mask = torch.arange(window.shown, device=device) <= seen[:, None, :, None]
        return self._model.hidden(ids, cache=window, positions=positions, mask=mask)
