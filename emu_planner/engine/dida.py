"""The DiDA decoder: all codes of a picture at once, refined in a few passes.

Discrete diffusion adaptation (Emu3.5 section 4.3). A picture begins as random codes. Each pass sees
all that came before and, in both directions, the picture as it is; it says what every code should be,
and codes jump towards that along the metric path: any of them may change in any pass. The last pass
decides. Then the picture counts as written: the pass that chooses the next word reads its codes
causally, as it reads any tokens. Words are the raster decoder's. Only for a model that was adapted:
training/dida.py, which draws the very block that is read here.

Another picture than the raster decoder's for the same seed; the same one for the same seed and steps.
Knows no words and no pixels.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from emu_planner.engine import raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Choice, Grammar, forced_after_codes
from emu_planner.engine.raster import Decoding, Draft, Tokens
from emu_planner.engine.sampler import Sampler, choose, guide
from emu_planner.model.metric_path import MetricPath, PathConfig


@dataclass(frozen=True)
class DidaConfig:
    """How a picture is refined, and along which path the model was adapted."""

    # passes a picture
    steps: int = 8
    # guidance from here on costs more than it gives: the share of the path that is guided
    guided_until: float = 0.9
    # of the adaptation
    path: PathConfig = field(default=PathConfig())

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.guided_until <= 1:
            raise ValueError(
                f"steps is {self.steps}, guided_until {self.guided_until}; expected 1 or more, and 0 to 1"
            )


def generate(
    branches: Branches,
    grammar: Grammar,
    sampler: Sampler,
    decoding: Decoding,
    prompt: Sequence[int],
    *,
    boi: int,
    ends: Collection[int] = (),
    stopped: Callable[[], bool] = lambda: False,
    config: DidaConfig,
    codes: Tensor,
) -> Tokens:
    """As raster.generate; the tokens of a picture come at once, a Draft after each pass before.

    Args:
        codes: the vectors [V, D] of the vision tokenizer's codes.
    """
    step = _ImageStep(config, MetricPath(codes, config.path))
    return raster.generate(
        branches, grammar, sampler, decoding, prompt, boi=boi, ends=ends, stopped=stopped, image_step=step
    )


class _ImageStep:
    """A raster.ImageStep that refines the present picture by one pass a call.

    Args:
        config, path: see there.
    """

    def __init__(self, config: DidaConfig, path: MetricPath) -> None:
        self._config, self._path = config, path
        # passes of the present picture so far
        self._done = 0
        # its block's ids [L] with the present codes in them, and where these are [n]
        self._block = self._places = torch.empty(0)
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
    ) -> list[int] | Draft:
        """See raster.ImageStep."""
        config, choice = self._config, grammar.choice()
        if self._done == 0:
            self._open(grammar, sampler, pending[-1], branches.device)
        begin, end = (config.path.time(step / config.steps) for step in (self._done, self._done + 1))
        guided = branches.guided and float(begin) < config.guided_until
        # what stands before the block is kept: it is read once, by all rows
        hidden = branches.look_at_block(pending[:-1], self._block, guided=guided)
        # as everywhere in a sequence, a code is told by the token before it
        codes = self._move(branches, choice, sampler, decoding, hidden[:, self._places - 1], begin, end)
        self._block[self._places] = codes + choice.first
        self._done += 1
        if self._done < config.steps:
            return Draft(self._done, config.steps)
        self._done = 0
        written: list[int] = []
        for token, tail in zip((codes + choice.first).tolist(), self._tails, strict=True):
            written += [token, *tail]
        # the end of the picture is the grammar's to force
        return written[: len(written) - len(self._tails[-1])]

    def _open(self, grammar: Grammar, sampler: Sampler, image: int, device: torch.device) -> None:
        """A picture begins, after the token `image`: random codes, and the forced tokens between them."""
        choice = grammar.choice()
        self._tails = forced_after_codes(grammar)
        block, places = [image], []
        for tail in self._tails:
            places.append(len(block))
            block += [choice.first, *tail]
        block = block[: len(block) - len(self._tails[-1])]
        self._block = torch.tensor(block, device=device)
        self._places = torch.tensor(places, device=device)
        self._block[self._places] += sampler.any_of(choice.stop - choice.first, len(places))

    def _move(
        self,
        branches: Branches,
        choice: Choice,
        sampler: Sampler,
        decoding: Decoding,
        hidden: Tensor,
        begin: Tensor,
        end: Tensor,
    ) -> Tensor:
        """The codes [n] after this pass, whose hidden states before each are [rows, n, width]."""
        present, path = self._block[self._places] - choice.first, self._path
        parts = []
        for codes, states in zip(present.split(path.tile), hidden.split(path.tile, dim=1), strict=True):
            logits = branches.logits(states, choice.first, choice.stop)
            scales = decoding.guidance_scale, decoding.image_guidance_scale
            scores = guide(logits, *scales) if len(logits) > 1 else logits[0]
            targets = choose(scores, decoding.image, sampler.noise(scores, decoding.image))
            if self._done + 1 < self._config.steps:
                targets = path.jump(codes, targets, begin, end, sampler.waits(scores))
            parts.append(targets)
        return torch.cat(parts)
