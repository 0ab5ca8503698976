"""The Jacobi decoder: the raster decoder's tokens for the same seed, in fewer passes.

A code of an image is argmax(logits + noise), and the noise of a place does not depend on the codes
before it (Gumbel coupling: arXiv 2510.24211). So a whole run of codes can be guessed, one pass can
say what follows each of them, and what follows a right guess is what the raster decoder would have
chosen. Guesses are the previous picture's codes at the same places, where a robot's next picture
seldom differs; or what passes said of the place, once two agree, for what stands after a wrong guess
may be spoilt by it. Without such a picture: what the last pass said. Wrong guesses cost time, never
exactness.

Equal up to rounding: where a pass over many tokens rounds otherwise than passes over one, two codes
that are all but equally likely may change places, and the picture goes on from there with equal right,
as it may with another batch size. The products of few tokens are computed alike whatever their
number (attend_short, StaticCache), so this is rare. Knows no words and no pixels.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emu_planner.engine import raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Choice, Grammar, forced_after_codes
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.sampler import Sampler, choose, guide


@dataclass(frozen=True)
class JacobiConfig:
    """How far a pass looks ahead."""

    # most codes that one pass chooses
    window: int = 32
    # guess that codes are those of the previous picture; else, that they repeat the one before
    previous: bool = True

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}; expected 1 code or more")


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
    config: JacobiConfig | None = None,
) -> Tokens:
    """As raster.generate; the tokens of one pass come at once."""
    step = _ImageStep(config or JacobiConfig(), last_picture(prompt, grammar.visual, boi))
    return raster.generate(
        branches, grammar, sampler, decoding, prompt, boi=boi, ends=ends, stopped=stopped, image_step=step
    )


def last_picture(tokens: Sequence[int], visual: Choice, boi: int) -> list[int]:
    """The ids of the codes of the last whole image in a sequence; none: empty."""
    picture: list[int] = []
    codes: list[int] = []
    for token in tokens:
        if token == boi:
            codes = []
        elif token in visual:
            codes.append(token)
            picture = codes
    return picture


class _ImageStep:
    """A raster.ImageStep that chooses as many codes in a pass as it can be sure of.

    Args:
        config: see there.
        picture: ids of the previous picture's codes; empty: there is none.
    """

    def __init__(self, config: JacobiConfig, picture: list[int]) -> None:
        self._config = config
        # ids of the present image, known or guessed; between images, of the last one
        self._codes = picture
        # ids of the picture before it; empty: there is none of its size
        self._picture: list[int] = []
        # what the last pass that looked so far said, by place
        self._said: dict[int, int] = {}
        # forced tokens after each code
        self._tails: list[list[int]] = []
        # of the first codes that are not certain yet
        self._noise: list[Tensor] = []

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
            self._open(grammar)
        read, marks = self._guess(grammar, pending, branches.room)
        hidden = branches.extend_image(read)[:, marks]
        chosen = self._choose(branches, grammar.choice(), sampler, decoding, hidden)
        guessed = self._codes[done : done + len(chosen)]
        right = 0
        while right + 1 < len(chosen) and guessed[right] == chosen[right]:
            right += 1
        branches.retract_image(len(read) - 1 - marks[right])
        self._learn(done, chosen, right)
        del self._noise[: right + 1]
        certain = chosen[:1]
        for index in range(right):
            certain += [*self._tails[done + index], chosen[index + 1]]
        return certain

    def _open(self, grammar: Grammar) -> None:
        """A new image begins."""
        self._tails = forced_after_codes(grammar)
        self._noise, self._said = [], {}
        fits = len(self._codes) == len(self._tails)
        self._picture = list(self._codes) if fits and self._config.previous else []
        self._codes = list(self._picture)

    def _learn(self, done: int, chosen: list[int], right: int) -> None:
        """The codes that are certain now, and new guesses for the places after them."""
        self._codes[done : done + len(chosen)] = chosen
        for place, said in enumerate(chosen[right + 1 :], done + right + 1):
            if self._picture and said != self._said.get(place):
                self._codes[place] = self._picture[place]
            self._said[place] = said

    def _guess(self, grammar: Grammar, pending: list[int], room: int) -> tuple[list[int], list[int]]:
        """The tokens to read, and which of them stand before a code: there the choices are."""
        read, marks = list(pending), [len(pending) - 1]
        done, codes = grammar.codes_done, self._codes
        for place in range(done, min(done + self._config.window, len(self._tails)) - 1):
            if place == len(codes):
                codes.append(codes[-1] if codes else grammar.visual.first)
            guess = [self._codes[place], *self._tails[place]]
            if len(read) + len(guess) > room:
                break
            read += guess
            marks.append(len(read) - 1)
        return read, marks

    def _choose(
        self, branches: Branches, choice: Choice, sampler: Sampler, decoding: Decoding, hidden: Tensor
    ) -> list[int]:
        """The ids of the codes after hidden states [rows, W, width]."""
        rows = branches.logits(hidden, choice.first, choice.stop)
        guided = branches.guided
        logits = guide(rows, decoding.guidance_scale, decoding.image_guidance_scale) if guided else rows[0]
        # one place after another, so that each has the noise that the raster decoder gives it
        while len(self._noise) < len(logits):
            drawn = sampler.noise(logits[0], decoding.image)
            if drawn is None:
                break
            self._noise.append(drawn)
        noise = torch.stack(self._noise[: len(logits)]) if self._noise else None
        return [choice.first + index for index in choose(logits, decoding.image, noise).tolist()]
