"""Two plans of one seed by two decoders: what must be equal, and where they part if it is not.

Tokens must be equal, though passes round differently: in the plans of these tests the two best candidates
for a token are 0.007 apart or more (score after temperature and chance), and another order of sums in
float32 moves a score by 4e-6. Confidence is made of log-probabilities and follows the rounding, and a
value of a picture may fall on the other side of a half.
"""

import copy
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from torch import Tensor

from emu_planner.engine.generator import Generator
from emu_planner.engine.grammar import Phase
from emu_planner.engine.parts import Picture
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import Draft, Token
from emu_planner.engine.request import Request, Settings
from emu_planner.engine.sampler import Sampler, Sampling, choose
from emu_planner.plan import Generation, Report, Step, Task, collect
from tests.engine.conftest import INSTRUCTION

# of a mean probability: some roundings of a log-probability in float32
CONFIDENCE = 1e-6
# grey levels: beside other work a GPU may sum a convolution of the picture's decoder in another order
_ROUNDING = 1
_PIXELS = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Chosen:
    """A token, and where this decoder chose it on the host, the scores that it was chosen by."""

    token: Token
    # of the ids from `first` on, [V]; with chance, before truncation
    scores: Tensor | None
    first: int


@dataclass(frozen=True)
class Plan:
    """A plan and its tokens."""

    report: Report
    chosen: tuple[Chosen, ...]


class _Noting(Sampler):
    """A sampler that notes the scores of each choice."""

    def __init__(self, sampler: Sampler) -> None:
        self._generator = sampler._generator
        self.noted: list[tuple[Tensor, int]] = []

    def pick(self, logits: Tensor, sampling: Sampling) -> Tensor:
        noise = self.noise(logits, sampling)
        scores = logits.clone() if noise is None else logits / sampling.temperature - noise
        index = choose(logits, sampling, noise)
        self.noted.append((scores, int(index)))
        return index


class _Listening:
    """A decoder whose tokens are kept."""

    def __init__(self, decoder) -> None:
        self._decoder, self.branches = decoder, decoder.branches
        self.chosen: list[Chosen] = []

    def generate(self, branches, grammar, sampler, *given, **more) -> Iterator[Token | Draft]:
        noting, seen = _Noting(sampler), 0
        with closing(self._decoder.generate(branches, grammar, noting, *given, **more)) as tokens:
            for token in tokens:
                scores, index = noting.noted[-1] if len(noting.noted) > seen else (None, 0)
                seen = len(noting.noted)
                self.chosen.append(Chosen(token, scores, token.id - index))
                yield token


def plan_of(planner: EmuPlanner, frames, seed: int, **asked) -> Plan:
    """A plan with its tokens."""
    heard = copy.copy(planner)
    heard._decoder = listening = _Listening(planner._decoder)
    events = heard.plan(Task(INSTRUCTION, Generation(seed=seed, **asked)), frames)
    return Plan(collect(INSTRUCTION, events), tuple(listening.chosen))


def check_alike(found: Plan, plain: Plan, what: object = "") -> None:
    """Fails, and says where they part, unless the plans are equal but for rounding.

    Args:
        plain: the plain decoder's, which chooses every token on the host.
        what: names the pair in the message.
    """
    parted = _parting(found, plain)
    assert not parted, f"{what}: {parted}"
    differ = _pixels(found.report, plain.report)
    assert not differ, f"{what}: all tokens are equal; {differ}"
    ours, theirs = ([step.confidence for step in plan.report.steps] for plan in (found, plain))
    assert np.allclose(ours, theirs, rtol=0, atol=CONFIDENCE), (
        f"{what}: tokens and pictures are equal; confidence is {ours}, plainly {theirs}"
    )
    assert _bare(found.report) == _bare(plain.report), f"{what}: reports differ in something else"


def _parting(found: Plan, plain: Plan) -> str:
    """The first token that differs, and how near the two were; nothing where none does."""
    step = place = 0
    for number, (ours, theirs) in enumerate(zip_longest(found.chosen, plain.chosen)):
        if ours is None or theirs is None:
            return f"{len(found.chosen)} tokens instead of {len(plain.chosen)}, the first {number} equal"
        if ours.token.id != theirs.token.id or ours.token.phase is not theirs.token.phase:
            said = (
                f"token {number} (step {step}, {theirs.token.phase.name}, {place} since the phase began) is "
                f"{ours.token.id} instead of {theirs.token.id}"
            )
            return f"{said}; {_scores(ours, theirs)}"
        place += 1
        if number + 1 < len(plain.chosen):
            after = plain.chosen[number + 1].token.phase
            if after is not theirs.token.phase:
                place = 0
                step += after is Phase.TEXT
    return ""


def _scores(ours: Chosen, theirs: Chosen) -> str:
    scores, at = theirs.scores, ours.token.id - theirs.first
    if scores is None:
        return "the plain decoder had no choice"
    best = [(float(score), theirs.first + int(index)) for score, index in zip(*scores.topk(2), strict=True)]
    other = float(scores[at]) if 0 <= at < len(scores) else None
    return f"plainly its score is {other}; the best two are {best}, {best[0][0] - best[1][0]:.3g} apart"


def _pixels(found: Report, plain: Report) -> str:
    for step, (ours, theirs) in enumerate(zip(found.steps, plain.steps, strict=False)):
        if ours.keyframe is None or theirs.keyframe is None or ours.keyframe == theirs.keyframe:
            continue
        gaps = np.abs(ours.keyframe.rgb.astype(int) - theirs.keyframe.rgb)
        if gaps.max() <= _ROUNDING:
            continue
        return f"{np.count_nonzero(gaps)} values of picture {step} differ, by up to {gaps.max()}"
    return ""


def _bare(report: Report) -> Report:
    """Without what rounding changes."""

    def bare(step: Step) -> Step:
        shown = step.keyframe and replace(step.keyframe, rgb=np.zeros_like(step.keyframe.rgb))
        return replace(step, confidence=None, keyframe=shown)

    return replace(report, steps=tuple(map(bare, report.steps)))


def check_generations(recorded: Generator, plain: Generator) -> None:
    """Fails unless answers are equal: without guidance and with one or two rows more, in several sizes."""
    base = Settings(text_top_k=1, image_temperature=3.0, image_area=2048, max_new_tokens=90)
    shapes = set()
    kinds = ((1.0, False, "auto"), (3.0, False, "3*2"), (3.0, True, "2*5"), (2.0, False, "2*2"))
    for scale, three, size in kinds:
        settings = replace(
            base,
            classifier_free_guidance=scale,
            unconditional_type="no_text_img_cfg" if three else "no_text",
            image_cfg_scale=2.0 if three else 1.0,
            aspect_ratio=size,
        )
        request = Request("vla", INSTRUCTION, (_PIXELS,), settings)
        for seed in (1, 2):
            answer = list(recorded.generate(request, seed=seed))
            assert answer == list(plain.generate(request, seed=seed)), (scale, three, size, seed)
            shapes |= {part.grid.shape for part in answer if isinstance(part, Picture)}
    assert {(2, 4), (3, 2), (2, 5), (2, 2)} <= shapes
