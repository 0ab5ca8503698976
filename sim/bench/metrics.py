"""The metrics of one plan in one scene: small pure functions, all in [0, 1], 1 the best.

Denominators are fixed before anything is scored: N steps, the larger of what the plan has and what
the oracle needs from the start. A step that is missing, was never reached or has no picture counts 0,
so neither a short plan nor a padded one gains. docs/metrics.md tells what each one cannot see.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# grey levels in the still part of a picture at which background consistency is 0
BACKGROUND_LEVEL = 24.0
# m: a state further than that from rest is none
SETTLE_M = 0.010
# m: the distance at which nearness to a possible state falls to 1/e
FEASIBLE_M = 0.02
# m: how far real outcomes are from nominal ones, and a fit from the truth; not counted as distance
SLACK_M = 0.005

# The vector's entries that the score is made of, and those that need a picture
SCORED = (
    "valid", "executable", "configuration", "permanence", "background", "feasible", "agreement",
    "progress_open", "progress_closed",
)  # fmt: skip
PICTURED = ("configuration", "permanence", "background", "feasible", "agreement")
VECTOR = (*SCORED, "success_open", "success_closed")


@dataclass(frozen=True)
class StepFacts:
    """What the judge found out about one step. Picture fields are None without a picture."""

    # the words are a skill call that is possible in the state that the steps before reached
    valid: bool
    # the skill library reached the skill's outcome from there
    done: bool = False
    # what follows is about the picture; see sim/bench/imagined.py for units and rules
    objects_found: int | None = None
    objects: int | None = None
    settle_m: float | None = None
    feasible_m: float | None = None
    background_level: float | None = None
    agrees: bool | None = None


def valid(steps: Iterable[StepFacts], count: int) -> float:
    """Share of subgoals that are a possible skill call: sum(valid) / N.

    Source: the skill library's preconditions (sim/skills.py) on the simulator's exact state. Unit: share.
    """
    return _mean((1.0 if step.valid else 0.0 for step in steps), count)


def executable(steps: Iterable[StepFacts], count: int) -> float:
    """Share of subgoals that the fixed skill library carries out from the achieved state: sum(done) / N.

    Each step begins where execution really got, never where a picture says. Source: Dream.exe's
    E-SR, with one published skill library for all. Unit: share.
    """
    return _mean((1.0 if step.done else 0.0 for step in steps), count)


def configuration(steps: Iterable[StepFacts], count: int) -> float:
    """Share of keyframes whose state stays where it is under physics: sum(settle < 10 mm) / N.

    Settle distance: the largest movement of an object in 0.2 s of physics after the imagined state
    was posed; a missing object makes it infinite. Source: static equilibrium, by the simulator itself.
    Unit: share; 10 mm is 20 times what real states move and a tenth of a fall from a stack.
    """
    return _mean((1.0 if _or_inf(step.settle_m) < SETTLE_M else 0.0 for step in steps), count)


def permanence(steps: Iterable[StepFacts], count: int) -> float:
    """Mean share of the scene's objects that a keyframe shows exactly once: sum(found / objects) / N.

    found: objects seen in their own pixels where the read state has them, less the blobs where nothing
    should have changed (a second one, or one that moved by itself). An object with fewer than 6 pixels
    of its own is excused. Source: object permanence, with the simulator's exact masks. Unit: share.
    """
    return _mean(
        (step.objects_found / step.objects if step.objects_found and step.objects else 0.0 for step in steps),
        count,
    )


def background(steps: Iterable[StepFacts], count: int) -> float:
    """Mean of max(0, 1 - e / 24), e the mean |difference| in grey levels where nothing should change.

    Against the real picture before the step after the planner's own tokenizer, so that its blur is
    not punished; the still region is that of the state which the keyframe is read as, less 2 px at
    its edge. Source: background consistency of VBench and EWMBench, in pixels instead of features.
    Unit: share of 24 grey levels.
    """
    return _mean(
        (
            max(0.0, 1.0 - step.background_level / BACKGROUND_LEVEL)
            if step.background_level is not None
            else 0.0
            for step in steps
        ),
        count,
    )


def feasible(steps: Iterable[StepFacts], count: int) -> float:
    """Mean of exp(-max(0, d - 5 mm) / 2 cm), d from the imagined state to the nearest that can be next.

    d: over the states that one possible skill (or none) leads to, the smallest of the largest
    displacement of an object, m; infinite when an object is missing. The 5 mm are what a real outcome
    differs from its nominal pose. Unit: 1 up to 5 mm, 0.37 at 25 mm.
    """
    return _mean(
        (math.exp(-max(0.0, _or_inf(step.feasible_m) - SLACK_M) / FEASIBLE_M) for step in steps), count
    )


def agreement(steps: Iterable[StepFacts], count: int) -> float:
    """Share of keyframes that are read as the outcome of the very skill that the words call.

    Source: image-text consistency of interleaved generation (Emu3.5's judged criterion), here exact.
    Unit: share.
    """
    return _mean((1.0 if step.agrees else 0.0 for step in steps), count)


def progress(start: Mapping[str, bool], end: Mapping[str, bool]) -> float:
    """Share of the task's conditions still open at the start that are true at the end.

    max(0, true_end - true_start) / (all - true_start): a condition that was true and is broken costs
    one. Source: partial success of goal predicates (Dream.exe's SR-P), with contact, release and rest.
    Unit: share. 1 exactly when the task is done.
    """
    open_at_start = len(start) - sum(start.values())
    if open_at_start == 0:
        return float(all(end.values()))
    return max(0.0, (sum(end.values()) - sum(start.values())) / open_at_start)


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean(log v)); 0 as soon as one is 0. ValueError: no values, or one below 0.

    One axis cannot buy another: a plan that copies its input keeps everything in place and still has 0.
    """
    if not values or min(values) < 0:
        raise ValueError(f"expected values of 0 or more, got {list(values)}")
    if min(values) == 0:
        return 0.0
    return math.exp(math.fsum(math.log(v) for v in values) / len(values))


def step_metrics(steps: Sequence[StepFacts], count: int) -> dict[str, float]:
    """All metrics of a plan's steps; `count` is N."""
    return {
        "valid": valid(steps, count),
        "executable": executable(steps, count),
        "configuration": configuration(steps, count),
        "permanence": permanence(steps, count),
        "background": background(steps, count),
        "feasible": feasible(steps, count),
        "agreement": agreement(steps, count),
    }


def score(vector: Mapping[str, float | None]) -> float | None:
    """Geometric mean of the scored entries; None when pictures were not to be scored."""
    values = [vector[name] for name in SCORED]
    known = [value for value in values if value is not None]
    return geometric_mean(known) if len(known) == len(values) else None


def _mean(values: Iterable[float], count: int) -> float:
    found = list(values)
    if len(found) > count:
        raise ValueError(f"{len(found)} steps were judged, more than the denominator {count}")
    return math.fsum(found) / count if count else 0.0


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
