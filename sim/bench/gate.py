"""The gate before pictures are scored: are real keyframes still read right after the planner's tokenizer?

A metric that reads pictures says nothing about a planner whose tokenizer cannot even show the truth.
So real keyframes go through it and back; 99 of 100 must be read as what they are, or the picture
metrics of that planner are not scored, and the report says why.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sim.bench.trail import Skills, Trail
from sim.reading import read_picture
from sim.statistics import wilson

Picture = NDArray[np.uint8]

# share of real keyframes that must be read right after the round trip
LEAST_SHARE = 0.99


@dataclass(frozen=True)
class CeilingScore:
    """How well one real keyframe is still read after a tokenizer's round trip."""

    scene: str
    skill: str
    # read as the right state after the round trip, and without it
    right: bool
    right_without: bool
    psnr_db: float

    def row(self) -> dict:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Whether pictures may be scored, and the figures behind it."""

    passed: bool
    right: int
    trials: int
    why: str


def score_ceiling(trail: Trail, round_trip: Callable[[Picture], Picture]) -> Iterator[CeilingScore]:
    """The oracle's real keyframes of one scene, sent through the tokenizer and read back."""
    skills: Skills = ()
    for skill in trail.needed():
        candidates = trail.library(skills)
        skills += (skill,)
        place = trail.at(skills)
        if not place.ok:
            return
        real = place.picture
        sent = round_trip(real)
        if sent.shape != real.shape or sent.dtype != real.dtype:
            raise ValueError(f"the round trip gave {sent.dtype} {sent.shape}, expected uint8 {real.shape}")
        error = float(np.square(sent.astype(np.float64) - real).mean())
        yield CeilingScore(
            str(trail.name),
            str(skill),
            read_picture(sent, candidates).best.skill == skill,
            read_picture(real, candidates).best.skill == skill,
            10 * np.log10(255.0**2 / max(error, 1e-9)),
        )


def decide(rows: Sequence[dict]) -> Verdict:
    """The gate's verdict over ceiling rows. Without rows: refused."""
    right, trials = sum(bool(row["right"]) for row in rows), len(rows)
    if not trials:
        return Verdict(
            False,
            0,
            0,
            "no real keyframe went through the planner's tokenizer: its pictures cannot be judged",
        )
    share = right / trials
    low, high = wilson(right, trials)
    told = (
        f"{right} of {trials} real keyframes ({100 * share:.1f}%, 95% interval {100 * low:.1f} to "
        f"{100 * high:.1f}) are read right after the planner's own tokenizer"
    )
    if share < LEAST_SHARE:
        return Verdict(
            False, right, trials,
            f"{told}; {100 * LEAST_SHARE:.0f}% is asked for, so its pictures are not scored: a wrong one "
            "could be the tokenizer's fault or the reading's. A finer tokenizer is the remedy",
        )  # fmt: skip
    return Verdict(True, right, trials, told)
