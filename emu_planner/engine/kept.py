"""What a DeviceDecoder keeps between answers: keys and values, and recordings of work on them.

Shapes: R rows, S tokens read (1 or 2), C slots, V codes.
"""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emu_planner.engine.branches import SLOTS
from emu_planner.engine.cache import StaticCache
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.recordings import Recordings
from emu_planner.engine.step import Attend, Model, PassRegisters, Registers, StepConfig, read_token, step

# capacities are multiples of it
_GRAIN = 1024


@dataclass(frozen=True)
class DeviceConfig:
    """How steps are sent, and what is kept."""

    # steps between two readings of the host; twice as many can be on their way when somebody stops
    chunk: int = 4
    # slots that attention looks at are a multiple of this many, where attention has no lengths
    bucket: int = 512
    # recordings that are kept, the most recently used ones
    recordings: int = 16
    # whether passes are made of fewer, larger pieces (fused.py), where that is possible; None: on a GPU
    fused: bool | None = None

    def __post_init__(self) -> None:
        if min(self.chunk, self.bucket, self.recordings) < 1:
            raise ValueError(f"{self}: expected 1 or more of each")


class KeptMemory:
    """Memory for one answer after another.

    Args:
        model: on one device.
        config: see there.
        attend: attention of few tokens; None: the model's own.
        rows: most rows of an answer.
        capacity: tokens in a row that must fit.
    """

    def __init__(
        self, model: Model, config: DeviceConfig, attend: Attend | None, rows: int, capacity: int
    ) -> None:
        weight = model.model.embed_tokens.weight
        capacity = -(-capacity // _GRAIN) * _GRAIN
        self._cache = StaticCache(
            model.config, rows=rows, capacity=capacity, device=weight.device, dtype=weight.dtype
        )
        recordings = Recordings(weight.device, most=config.recordings)
        bucket = config.bucket if recordings.recorded else SLOTS
        self._workshop = Workshop(model, attend, recordings, capacity, capacity if attend else bucket)
        self._passes: dict[int, Passes] = {}  # by rows
        self._steps: dict[tuple[int, int, int], Steps] = {}  # by rows, id of the row end, and V

    def holds(self, rows: int, capacity: int) -> bool:
        """Whether such an answer fits."""
        return rows <= len(self._cache.lengths) and capacity <= self._cache.memory

    def lend(self, rows: int, capacity: int) -> StaticCache:
        """The memory of an answer, empty."""
        lent = self._cache.view(rows, capacity)
        lent.clear()
        return lent

    def passes(self, rows: int) -> "Passes":
        """Passes over a token in the first rows."""
        if rows not in self._passes:
            registers = PassRegisters(self._workshop.model, self._cache.view(rows))
            self._passes[rows] = Passes(self._workshop, registers)
        return self._passes[rows]

    def steps(self, rows: int, grammar: Grammar) -> "Steps":
        """Steps inside the images of a grammar."""
        codes = grammar.visual.stop - grammar.visual.first
        key = rows, grammar.row_end, codes
        if key not in self._steps:
            device = self._workshop.model.lm_head.weight.device
            registers = Registers(self._cache.view(rows), eol=grammar.row_end, codes=codes, device=device)
            self._steps[key] = Steps(self._workshop, registers, key)
        return self._steps[key]


@dataclass(frozen=True, eq=False)
class Workshop:
    """What passes and steps on one memory share. It knows neither them nor the memory: no cycle keeps it."""

    model: Model
    attend: Attend | None
    recordings: Recordings
    # slots of a row, and the number that attention looks at a multiple of
    capacity: int
    bucket: int

    def shown(self, length: int) -> int:
        """Slots that attention looks at where the longest row has so many tokens at the end."""
        return min(-(-length // self.bucket) * self.bucket, self.capacity)


class Passes:
    """Passes over one token on some registers."""

    def __init__(self, workshop: Workshop, registers: PassRegisters) -> None:
        self._workshop, self._registers = workshop, registers

    def read(self, token: int, lengths: Sequence[int]) -> Tensor:
        """The hidden states [R, 1, width] after a token that comes after so many in each row."""
        w, r = self._workshop, self._registers
        shown = w.shown(max(lengths) + 1)
        r.read.copy_(torch.tensor([token, *lengths]))
        w.recordings.run((len(lengths), shown), lambda: read_token(w.model, r, shown, w.attend))
        return r.hidden.clone()


class Steps:
    """Steps on some registers, which are `key` among those of the memory."""

    def __init__(self, workshop: Workshop, registers: Registers, key: Hashable) -> None:
        self.registers, self.workshop, self._key = registers, workshop, key

    @torch.inference_mode()
    def run(self, config: StepConfig) -> None:
        """One step, sent to the device."""
        w, r = self.workshop, self.registers
        work = functools.partial(step, w.model, r, config, w.attend)
        w.recordings.run((self._key, config), work, (r.token, r.lengths))
