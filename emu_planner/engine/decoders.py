"""Which decoder a model of one's own gets: plain, or on request with recorded passes."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from emu_planner.engine import raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.graphs import DeviceDecoder, best_attention
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.sampler import Sampler
from emu_planner.model.spread import is_spread
from emu_planner.model.transformer import Transformer

# raster.generate, or what takes the same arguments
Generate = Callable[..., Tokens]


class Decoder(Protocol):
    """What makes the rows of an answer, and generates with them: of one's own, or a Scheduler."""

    def branches(
        self,
        *,
        capacity: int,
        unconditional: Sequence[int] | None = None,
        imageless: Sequence[int] | None = None,
        boi: int | None = None,
    ) -> Any:
        """As Branches."""
        ...

    def generate(
        self,
        branches: Any,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        prompt: Sequence[int],
        *,
        boi: int,
        ends: Collection[int] = (),
        stopped: Callable[[], bool] = ...,
    ) -> Tokens:
        """As raster.generate, with branches of this decoder."""
        ...


class PlainDecoder:
    """A pass after another, each answer in memory of its own."""

    def __init__(self, model: Transformer, generate: Generate) -> None:
        self._model, self.generate = model, generate

    def branches(self, **rows: Any) -> Branches:
        """As Branches."""
        return Branches(self._model, **rows)


def decoder_of(
    model: Transformer, generate: Generate = raster.generate, *, graphs: bool = False
) -> PlainDecoder | DeviceDecoder:
    """The decoder of a model.

    Args:
        model: on one device or several.
        generate: how codes are chosen.
        graphs: whether passes over few tokens are recorded as CUDA graphs, where the model lies on one
            device; without CUDA they are the same passes, not recorded.
    """
    if not graphs or is_spread(model):
        return PlainDecoder(model, generate)
    own = None if generate is raster.generate else generate
    return DeviceDecoder(model, attend=best_attention(model), decode=own)
