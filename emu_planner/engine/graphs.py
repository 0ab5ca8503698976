"""The raster decoder without a word between host and device per token: for models on a GPU.

Inside an image every next token is known to be a code or forced, so steps (step.py) are sent to the
device some at a time, as recordings (CUDA graphs), and the codes are read when they have long been
chosen. A word is read by a recorded pass too, and chosen as by the plain decoder. Tokens, and the noise
that they cost, are those of raster.generate for the same seed, up to rounding. Keys and values lie in
memory that outlives an answer, so recordings do too.

    decoder = DeviceDecoder(model)
    branches = decoder.branches(capacity=4096, unconditional=prompt)
    tokens = decoder.generate(branches, grammar, sampler, decoding, prompt, boi=boi)

Many threads may use one decoder, on one CUDA stream. Its memory is lent to one answer at a time; one
that comes meanwhile is decoded plainly, in memory of its own: waiting could be for ever, as a reader
may stop anywhere in an answer.
"""

import functools
import logging
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from emu_planner.engine import raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.fused import FusedTransformer, can_fuse
from emu_planner.engine.fused_fp8 import FusedFp8Transformer, can_fuse_fp8
from emu_planner.engine.grammar import Grammar, Phase, forced_after_codes
from emu_planner.engine.kept import DeviceConfig, KeptMemory, Steps
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.step import Attend, Model, StepConfig
from emu_planner.model.transformer import Transformer

_log = logging.getLogger(__name__)


class DeviceDecoder:
    """Decodes on one device, for one answer at a time; answers beside it get the plain decoder.

    Args:
        model: on one device.
        config: see there.
        attend: attention of few tokens that looks no further than it must; None: the model's own.
        decode: what takes the arguments of raster.generate and chooses codes in its own way; words are
            read by recorded passes all the same. None: raster, whose codes come from recorded steps.
    """

    def __init__(
        self,
        model: Transformer,
        config: DeviceConfig | None = None,
        *,
        attend: Attend | None = None,
        decode: Callable[..., Tokens] | None = None,
    ) -> None:
        self._model, self._config, self._attend = model, config or DeviceConfig(), attend
        self._decode = decode
        self._few = _for_few_tokens(model, self._config)
        self._lock = threading.Lock()
        self._memory: KeptMemory | None = None
        self._lent: weakref.ref[_LentBranches] | None = None

    def branches(
        self,
        *,
        capacity: int,
        unconditional: Sequence[int] | None = None,
        imageless: Sequence[int] | None = None,
        boi: int | None = None,
    ) -> Branches:
        """As Branches; in the memory that is kept, unless another answer has it.

        It is lent until `generate` ends or is closed, or nobody has these branches any more.
        """
        rows = 1 + (unconditional is not None) + (imageless is not None)
        prompts: dict[str, Any] = {"unconditional": unconditional, "imageless": imageless, "boi": boi}
        with self._lock:
            lent = None if self._lent is None else self._lent()
            if lent is None or lent.memory is None:
                made = _LentBranches(self._model, self._room(rows, capacity), rows, capacity, **prompts)
                self._lent = weakref.ref(made)
                return made
        return Branches(self._model, capacity=capacity, **prompts)

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
    ) -> Tokens:
        """As raster.generate. Inside images `stopped` is asked once a chunk."""
        decode = self._decode or raster.generate
        lent = branches if isinstance(branches, _LentBranches) else None
        if self._decode is None and lent is not None and lent.memory is not None:
            steps = lent.memory.steps(branches.rows, grammar)
            decode = functools.partial(raster.generate, image_step=_ImageStep(steps, self._config))
        try:
            yield from decode(
                branches, grammar, sampler, decoding, prompt, boi=boi, ends=ends, stopped=stopped
            )
        finally:
            # no lock here: the garbage collector may run this in any thread, amid anything
            if lent is not None:
                lent.give_back()

    def close(self) -> None:
        """Give memory and recordings back; lent ones go with their answer. A later answer gets new ones."""
        with self._lock:
            self._memory = self._lent = None

    def _room(self, rows: int, capacity: int) -> KeptMemory:
        """The memory that is kept, large enough; another one where it is not."""
        if self._memory is None or not self._memory.holds(rows, capacity):
            # The other one goes first: there may be no room for both. The new one holds what is asked for
            # and no more, so none ever needs more than the plain decoder.
            self._memory = None
            self._memory = KeptMemory(self._few, self._config, self._attend, rows, capacity)
        return self._memory


class _LentBranches(Branches):
    """Branches in memory that is lent to them, whose passes over one token are recorded."""

    def __init__(
        self, model: Transformer, memory: KeptMemory, rows: int, capacity: int, **prompts: Any
    ) -> None:
        super().__init__(model, capacity=capacity, cache=memory.lend(rows, capacity), **prompts)
        # None: it is given back
        self.memory: KeptMemory | None = memory

    def give_back(self) -> None:
        """Nothing is read after this."""
        self.memory = None
        self.cache.keys, self.cache.values = [], []

    def _run(self, rows: Sequence[int], tokens: Sequence[int] | Tensor, *, mutual: int = 0) -> Tensor:
        """See Branches."""
        before = [self.cache.lengths[row] for row in rows]
        if self.memory is None or len(tokens) > 1 or mutual or rows[0] or not min(before):
            return super()._run(rows, tokens, mutual=mutual)
        self.cache.append(rows, 1)
        self.passes += 1
        return self.memory.passes(len(rows)).read(int(tokens[0]), before)


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

    def __init__(self, steps: Steps, config: DeviceConfig) -> None:
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
        with self._steps.workshop.recordings.here():
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
            self._steps.run(StepConfig(grammar.visual, decoding, new, self._steps.workshop.shown(longest)))
            codes.append(registers.token.clone())
            self._asked += 1
        return _Chunk(codes) if codes else None


def _for_few_tokens(model: Transformer, config: DeviceConfig) -> Model:
    """What makes passes over few tokens."""
    wanted = model.lm_head.weight.is_cuda if config.fused is None else config.fused
    if not wanted:
        return model
    try:
        if can_fuse(model):
            return FusedTransformer(model)
        if can_fuse_fp8(model):
            return FusedFp8Transformer(model)
    except torch.OutOfMemoryError:  # some weights are moved, and no worse for it
        _log.warning("no room to move the model's weights together: decoding is slower")
    return model


def best_attention(model: Transformer) -> Attend | None:
    """The attention of few tokens that suits the model's device; None: the model's own.

    It is tried once: it is compiled on the machine, which needs a C compiler there.
    """
    config, weight = model.config, model.lm_head.weight
    size = config.head_dim
    if not weight.is_cuda or size < 16 or size & (size - 1):
        return None
    try:
        from emu_planner.engine.flash_decoding import attend_split

        made = torch.zeros(1, config.num_attention_heads, 1, size, device=weight.device, dtype=weight.dtype)
        kept = made.new_zeros(1, config.num_key_value_heads, 1, size)
        with torch.cuda.device(weight.device):
            attend_split(made, kept, kept, torch.zeros(1, 1, dtype=torch.long, device=weight.device))
            torch.cuda.synchronize()
    except Exception as error:  # no Triton, no compiler, or a card that it does not know
        _log.warning("split attention cannot be used here, decoding is slower: %s", error)
        return None
    return attend_split
