"""One decode step inside an image with all its state on the device: the raster decoder's hot loop.

A step reads the last code (and the row end that follows it, where one does) in every row of guidance,
and leaves the next code where the following step finds it: nothing goes to or comes from the host.
`read_token` is a step's first half, for a token that the host knows and whose successor it chooses.
Addresses and shapes never change, so CUDA can record either once and replay it (graphs.py); run
eagerly, on any device, it is the same function. Knows no words and no pixels.

Shapes: R rows, S tokens read (1 or 2), K key/value heads, H query heads, D head size, C slots, V codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from emu_planner.engine.cache import StaticCache
from emu_planner.engine.fused import FusedTransformer
from emu_planner.engine.fused_fp8 import FusedFp8Transformer
from emu_planner.engine.grammar import Choice
from emu_planner.engine.raster import Decoding
from emu_planner.engine.sampler import choose, guide
from emu_planner.model.transformer import Transformer

# What makes passes: the model, or the same in fewer pieces.
Model = Transformer | FusedTransformer | FusedFp8Transformer

# Attention [R, H, S, D] of q [R, H, S, D] to keys and values [R, K, C, D], of which the query token i
# of row r sees those up to positions[r, i]; positions are [R, S].
Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepConfig:
    """What a step is recorded for; another value needs another recording."""

    # ids of the visual codes
    choice: Choice
    # guidance and sampling
    decoding: Decoding
    # tokens read: the last code, or that and a row end
    new: int
    # slots that attention looks at; those past a row's end are masked
    shown: int


class Registers:
    """What steps read and write, at addresses that stay.

    Args:
        cache: keys and values of R rows.
        eol: id of the row end.
        codes: V.
        device: of the embedding and the output head.
    """

    def __init__(self, cache: StaticCache, *, eol: int, codes: int, device: torch.device) -> None:
        rows = len(cache.lengths)
        self.cache = cache
        # the last code [1]
        self.token = torch.zeros(1, dtype=torch.long, device=device)
        self.eol = torch.full((1,), eol, device=device)
        # tokens in each row before the step [R]
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        # chance of the next choice [V]: see Sampler.noise
        self.noise = torch.zeros(codes, device=device)


class PassRegisters:
    """What passes over one token read and write, at addresses that stay.

    Args:
        model: on one device.
        cache: keys and values of R rows.
    """

    def __init__(self, model: Model, cache: StaticCache) -> None:
        weight, rows = model.model.embed_tokens.weight, len(cache.lengths)
        self.cache = cache
        # the token, and the tokens in each row before it: [1 + R], for one transfer
        self.read = torch.zeros(1 + rows, dtype=torch.long, device=weight.device)
        # the hidden state after it [R, 1, width]
        self.hidden = torch.zeros(rows, 1, weight.shape[1], dtype=weight.dtype, device=weight.device)


class _Window:
    """The Cache of one step: where tokens go is on the device, and who sees whom follows from it."""

    def __init__(self, cache: StaticCache, positions: Tensor, shown: int) -> None:
        self._cache, self._positions, self._shown = cache, positions, shown
        self._rows = torch.arange(len(positions), device=positions.device)[:, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [R, K, S, D]; that layer's first slots [R, K, shown, D]."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._rows, :, self._positions] = k.transpose(1, 2)
        values[self._rows, :, self._positions] = v.transpose(1, 2)
        return keys[:, :, : self._shown], values[:, :, : self._shown]


class _AttendingWindow(_Window):
    """The same with an attention of its own: a PackedCache."""

    def __init__(self, cache: StaticCache, positions: Tensor, shown: int, attend: Attend) -> None:
        super().__init__(cache, positions, shown)
        self._attend = attend

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See PackedCache; here rows are not packed."""
        keys, values = self.update(layer, k, v)
        return self._attend(q, keys, values, self._positions)


@torch.inference_mode()
def step(model: Model, registers: Registers, config: StepConfig, attend: Attend | None = None) -> None:
    """Read the last code in every row; put the next one in its place.

    Args:
        model: on one device.
        registers: token, lengths and noise are as the step shall find them; lengths grow by S.
        config: see there.
        attend: attention; None: the model's own.
    """
    r = registers
    tokens = torch.cat((r.token, r.eol)) if config.new == 2 else r.token
    ids = tokens.expand(len(r.lengths), -1)
    positions = r.lengths[:, None] + torch.arange(config.new, device=ids.device)
    hidden = _hidden(model, r.cache, ids, positions, config.shown, attend)
    logits = model.head(hidden[:, -1], slice(config.choice.first, config.choice.stop))
    decoding = config.decoding
    if len(logits) > 1:
        mixed = guide(logits, decoding.guidance_scale, decoding.image_guidance_scale)
    else:
        mixed = logits[0]
    chance = None if decoding.image.certain else r.noise
    r.token.copy_(choose(mixed, decoding.image, chance) + config.choice.first)
    r.lengths += config.new


@torch.inference_mode()
def read_token(model: Model, registers: PassRegisters, shown: int, attend: Attend | None = None) -> None:
    """Read one token in every row; put the hidden state after it in its place.

    Args:
        model, attend: as of `step`.
        registers: `read` is as the pass shall find it.
        shown: slots that attention looks at.
    """
    ids = registers.read[:1].expand(len(registers.hidden), 1)
    hidden = _hidden(model, registers.cache, ids, registers.read[1:, None], shown, attend)
    registers.hidden.copy_(hidden)


def _hidden(
    model: Model, cache: StaticCache, ids: Tensor, positions: Tensor, shown: int, attend: Attend | None
) -> Tensor:
    if attend is not None:
        window = _AttendingWindow(cache, positions, shown, attend)
        return model.hidden(ids, cache=window, positions=positions)
    mask = torch.arange(shown, device=ids.device) <= positions[:, None, :, None]
    return model.hidden(ids, cache=_Window(cache, positions, shown), positions=positions, mask=mask)
