"""The raster decoder without a word between host and device per token: for models on a GPU.

Inside an image every next token is known to be a code or forced, so steps (step.py) are sent to the
device some at a time, as recordings (CUDA graphs), and the codes are read when they have long been
chosen. Tokens, and the noise that they cost, are those of raster.generate for the same seed, up to
rounding. Keys and values lie in memory that outlives an answer, so recordings do too.

    decoder = DeviceDecoder(model)
    branches = decoder.branches(capacity=4096, unconditional=prompt)
    tokens = decoder.generate(branches, grammar, sampler, decoding, prompt, boi=boi)
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emu_planner.engine import raster
from emu_planner.engine.branches import SLOTS, Branches
from emu_planner.engine.cache import StaticCache
from emu_planner.engine.grammar import Grammar, Phase, forced_after_codes
from emu_planner.engine.raster import Decoding, Draft, Token
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.step import Attend, Registers, StepConfig, step
from emu_planner.model.transformer import Transformer

# capacities of memory that is kept are multiples of it
_GRAIN = 1024
# runs before a recording: libraries choose their algorithms and take their memory in them
_WARM_UPS = 3


@dataclass(frozen=True)
class DeviceConfig:
    """How steps are sent."""

    # steps between two readings of the host; twice as many can be on their way when somebody stops
    chunk: int = 4
    # slots that attention looks at are a multiple of this many, where attention has no lengths
    bucket: int = 512
    # recordings that are kept, the most recently used ones
    recordings: int = 16

    def __post_init__(self) -> None:
        if min(self.chunk, self.bucket, self.recordings) < 1:
            raise ValueError(f"{self}: expected 1 or more of each")


class DeviceDecoder:
    """Decodes on one device, for one answer at a time; answers beside it get the plain decoder.

    Args:
        model: on one device.
        config: see there.
        attend: attention of few tokens that looks no further than it must; None: the model's own.
    """

    def __init__(
        self, model: Transformer, config: DeviceConfig | None = None, *, attend: Attend | None = None
    ) -> None:
        self._model, self._config, self._attend = model, config or DeviceConfig(), attend
        self._caches: dict[int, StaticCache] = {}  # by rows
        self._lent: dict[int, weakref.ref[Branches]] = {}
        self._steps: dict[int, _Steps] = {}

    def branches(
        self,
        *,
        capacity: int,
        unconditional: Sequence[int] | None = None,
        imageless: Sequence[int] | None = None,
        boi: int | None = None,
    ) -> Branches:
        """As Branches; in the memory that is kept, unless another answer has it."""
        rows = 1 + (unconditional is not None) + (imageless is not None)
        lent = self._lent.get(rows, lambda: None)()
        if lent is not None:
            return Branches(
                self._model, capacity=capacity, unconditional=unconditional, imageless=imageless, boi=boi
            )
        made = Branches(
            self._model,
            capacity=capacity,
            unconditional=unconditional,
            imageless=imageless,
            boi=boi,
            cache=self._cache(rows, capacity),
        )
        self._lent[rows] = weakref.ref(made)
        return made

    def generate(
        self,
        branches: Branches,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        prompt: Sequence[int],
        *,
        boi: int,
        ends: Collection[int] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Token | Draft]:
        """As raster.generate, which it is outside images."""
        rows = branches.rows
        known = self._caches.get(rows)
        image_step = None
        if known is branches.cache:
            image_step = _ImageStep(self._steps_of(known, grammar), self._config)
        return raster.generate(
            branches, grammar, sampler, decoding, prompt, boi=boi, ends=ends, stopped=stopped,
            image_step=image_step,
        )  # fmt: skip

    def _cache(self, rows: int, capacity: int) -> StaticCache:
        """The memory that is kept for so many rows, empty."""
        known = self._caches.pop(rows, None)
        if known is None or known.memory < capacity:
            # the smaller one goes first: there may be no room for both
            del known
            self._steps.pop(rows, None)
            weight = self._model.model.embed_tokens.weight
            known = StaticCache(
                self._model.config,
                rows=rows,
                capacity=-(-capacity // _GRAIN) * _GRAIN,
                device=weight.device,
                dtype=weight.dtype,
            )
        known.reset(capacity)
        self._caches[rows] = known
        return known

    def _steps_of(self, cache: StaticCache, grammar: Grammar) -> "_Steps":
        rows = len(cache.lengths)
        if rows not in self._steps:
            visual = grammar.visual
            registers = Registers(
                cache,
                eol=grammar.row_end,
                codes=visual.stop - visual.first,
                device=self._model.lm_head.weight.device,
            )
            self._steps[rows] = _Steps(self._model, registers, self._config, self._attend)
        return self._steps[rows]


class _Steps:
    """Steps on some registers, recorded where there is CUDA."""

    def __init__(
        self, model: Transformer, registers: Registers, config: DeviceConfig, attend: Attend | None
    ) -> None:
        self.registers = registers
        self._model, self._config, self._attend = model, config, attend
        self._recordings: OrderedDict[StepConfig, torch.cuda.CUDAGraph] = OrderedDict()
        self._pool: Any = None  # of all recordings: only one runs at a time
        self._cuda = registers.token.is_cuda

    def shown(self, length: int) -> int:
        """Slots that a step looks at whose longest row has so many tokens at its end."""
        memory = self.registers.cache.memory
        if self._attend is not None:
            return memory
        bucket = self._config.bucket if self._cuda else SLOTS
        return min(-(-length // bucket) * bucket, memory)

    @torch.inference_mode()
    def run(self, config: StepConfig) -> None:
        """One step, sent to the device."""
        if not self._cuda:
            step(self._model, self.registers, config, self._attend)
            return
        if config not in self._recordings:
            while len(self._recordings) >= self._config.recordings:
                self._recordings.popitem(last=False)
            self._recordings[config] = self._record(config)
        self._recordings.move_to_end(config)
        self._recordings[config].replay()

    def _record(self, config: StepConfig) -> torch.cuda.CUDAGraph:
        """A recording of a step; registers and cache stay what they were, but for the slots it writes."""
        r = self.registers
        before = r.token.clone(), r.lengths.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                step(self._model, r, config, self._attend)
                r.token.copy_(before[0])
                r.lengths.copy_(before[1])
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # other threads may use CUDA meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            step(self._model, r, config, self._attend)
        return graph


class _Chunk:
    """Codes that the device has been asked for, [n] on their way to the host."""

    def __init__(self, codes: Sequence[Tensor]) -> None:
        joined = torch.cat(list(codes))
        self._event = None
        self._ids = joined
        if joined.is_cuda:
            self._ids = torch.empty(joined.shape, dtype=joined.dtype, pin_memory=True)
            self._ids.copy_(joined, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> list[int]:
        """Wait for them."""
        if self._event is not None:
            self._event.synchronize()
        return self._ids.tolist()


class _ImageStep:
    """A raster.ImageStep that keeps the device busy while the codes before are read."""

    def __init__(self, steps: _Steps, config: DeviceConfig) -> None:
        self._steps, self._config = steps, config
        self._ahead: _Chunk | None = None
        self._asked = 0  # codes of the present image that the device has been asked for
        # forced tokens after each code
        self._tails: list[list[int]] = []

    @torch.inference_mode()
    def __call__(
        self,
        branches: Branches,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        pending: list[int],
    ) -> list[int]:
        """See raster.ImageStep."""
        done = grammar.codes_done
        if done == 0:
            chunk = self._begin(branches, grammar, sampler, decoding, pending)
        elif self._ahead is not None:
            chunk = self._ahead
        else:
            branches.claim_image(len(pending))  # raises: what has room was asked for ahead
            raise AssertionError("there was room")
        self._ahead = self._send(branches, grammar, sampler, decoding)
        codes = chunk.read()
        certain = codes[:1]
        for place, code in enumerate(codes[1:], done):
            certain += [*self._tails[place], code]
        return certain

    def _begin(
        self,
        branches: Branches,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        pending: list[int],
    ) -> _Chunk:
        """The first code of an image, after a pass over whatever stands before it."""
        choice, registers = grammar.choice(), self._steps.registers
        hidden = branches.extend_image(pending)[:, -1]
        rows = branches.logits(hidden, choice.first, choice.stop)
        index = raster.pick(rows, sampler, decoding, choice, Phase.IMAGE).long()
        registers.token.copy_(index + choice.first)
        registers.lengths.copy_(torch.tensor(branches.cache.lengths))
        self._tails, self._asked = forced_after_codes(grammar), 1
        return _Chunk([registers.token])

    def _send(
        self, branches: Branches, grammar: Grammar, sampler: Sampler, decoding: Decoding
    ) -> _Chunk | None:
        """The next steps of the image, as far as there is room; None: there are none."""
        registers = self._steps.registers
        codes: list[Tensor] = []
        while len(codes) < self._config.chunk and self._asked < len(self._tails):
            new = 1 + len(self._tails[self._asked - 1])
            if branches.room < new:
                break
            longest = branches.claim_image(new)
            if not decoding.image.certain:
                sampler.fill(registers.noise)
            self._steps.run(StepConfig(grammar.visual, decoding, new, self._steps.shown(longest)))
            codes.append(registers.token.clone())
            self._asked += 1
        return _Chunk(codes) if codes else None


def best_attention(model: Transformer) -> Attend | None:
    """The attention of few tokens that suits the model's device; None: the model's own."""
    size = model.config.head_dim
    if not model.lm_head.weight.is_cuda or size < 16 or size & (size - 1):
        return None
    try:
        from emu_planner.engine.flash_decoding import attend_split
    except ImportError:  # no Triton
        return None
    return attend_split
