"""The raster decoder: one token after another, images row by row.

A forced token (size, row end, image end) never costs a pass: it joins the next one. The output head
is computed only for the ids that the grammar allows. Knows no words and no pixels.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Choice, Grammar, Phase
from emu_planner.engine.sampler import Sampler, Sampling, guide


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen in each phase."""

    text: Sampling = field(default=Sampling())
    # of visual codes, and of a size that the model chooses
    image: Sampling = field(default=Sampling())
    # classifier-free guidance of visual codes; 1: none
    guidance_scale: float = 1.0
    # weight of the reference images, where the branches have a row without them
    image_guidance_scale: float = 1.0


@dataclass(frozen=True)
class Token:
    """One generated token: its id, the phase it belongs to, and for text its log-probability."""

    id: int
    phase: Phase
    logprob: float = 0.0


@dataclass(frozen=True)
class Draft:
    """The present picture has changed as a whole, and will again: so many passes of all are done."""

    done: int
    passes: int


# What generation yields; closing it ends it, and gives back what it had.
Tokens = Generator[Token | Draft, None, None]

# One pass inside an image: from the decoder's parts and the tokens that no pass has read yet to the
# next tokens: codes, with the forced ones between them; or to a Draft, while no code is certain yet.
# What the branches did not take, of these and those, the next pass reads.
ImageStep = Callable[[Branches, Grammar, Sampler, Decoding, list[int]], list[int] | Draft]


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
    image_step: ImageStep | None = None,
) -> Tokens:
    """Generate after the prompt until an end token, which is yielded too.

    Each token is yielded before the pass that reads it, so whoever takes the last token they want
    pays for no further one.

    Args:
        branches: new, with guidance when decoding.guidance_scale is not 1.
        grammar: new.
        prompt: ids up to BSS, or on to the BOI of the first image.
        boi: id of image start.
        ends: ids after which to end.
        stopped: asked before each pass; True ends the stream.
        image_step: what chooses visual codes instead of this decoder. Drafts come from it alone.

    Raises:
        ContextFullError: the sequence has outgrown the cache.
    """
    pending = list(prompt)
    image = pending[-1] == boi
    if image:
        branches.extend(pending[:-1], image=False)
        pending = [boi]
        grammar.advance(boi)
    # how many tokens stand before the pending ones; branches may be further, where a step works ahead
    before = branches.length
    while True:
        for token in grammar.forced():
            phase = grammar.phase
            grammar.advance(token)
            pending.append(token)
            yield Token(token, phase)
        if stopped():
            return
        choice, phase = grammar.choice(), grammar.phase
        logprob = 0.0
        chosen: list[int] | Draft
        if image_step is not None and phase is Phase.IMAGE:
            chosen = image_step(branches, grammar, sampler, decoding, pending)
        else:
            hidden = branches.extend(pending, image=image)
            token, logprob = _choose(branches, sampler, decoding, hidden, choice, phase)
            chosen = [token]
        if isinstance(chosen, Draft):
            yield chosen
            chosen = []
        for token in chosen:
            grammar.advance(token)
            yield Token(token, phase, logprob)
        if chosen and chosen[-1] in ends:
            return
        pending += chosen
        taken = min(branches.length - before, len(pending))
        pending, before = pending[taken:], before + taken
        image = grammar.phase is not Phase.TEXT


@torch.inference_mode()
def _choose(
    branches: Branches,
    sampler: Sampler,
    decoding: Decoding,
    hidden: Tensor,
    choice: Choice,
    phase: Phase,
) -> tuple[int, float]:
    """The next token and, for text, its log-probability before temperature and truncation."""
    guided = phase is Phase.IMAGE and branches.guided
    rows = branches.logits(hidden if guided else hidden[:1], choice.first, choice.stop)
    return read_pick(pick(rows, sampler, decoding, choice, phase).tolist(), choice)


def pick(rows: Tensor, sampler: Sampler, decoding: Decoding, choice: Choice, phase: Phase) -> Tensor:
    """The next token of logits [R, V] of a choice; several rows are guidance.

    Returns:
        Float64, for one transfer: its place in the choice, and for text its log-probability before
        temperature and truncation. See read_pick.
    """
    scales = decoding.guidance_scale, decoding.image_guidance_scale
    logits = guide(rows, *scales) if len(rows) > 1 else rows[0]
    for token in choice.forbidden:
        logits[token - choice.first] = -torch.inf
    index = sampler.pick(logits, decoding.text if phase is Phase.TEXT else decoding.image)
    if phase is not Phase.TEXT:
        return index.double()[None]
    return torch.stack((index.double(), logits.log_softmax(dim=0)[index].double()))


def read_pick(picked: Sequence[float], choice: Choice) -> tuple[int, float]:
    """Id and log-probability of what `pick` gave."""
    return choice.first + int(picked[0]), picked[1] if len(picked) > 1 else 0.0
