"""One planner in one scene: asked open loop and closed loop, judged by what really happens.

The planner gets a Task and a FrameSource; the judge gets its words and pixels and nothing else. Words
are carried out from the achieved state; pictures are read against that state. No model.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.frame import Still
from emu_planner.plan.planner import Generation, Planner, Task
from emu_planner.plan.step import Outcome, Step, StepOutcome
from sim import language
from sim.bench import metrics
from sim.bench.imagined import Imagined, imagine
from sim.bench.metrics import StepFacts
from sim.bench.plans import MOST_SUBGOALS, Taken, take
from sim.bench.trail import Skills, Trail
from sim.scene import Skill

Picture = NDArray[np.uint8]
RoundTrip = Callable[[Picture], Picture]

# Grey levels by which a pixel must change in some channel to belong to the changed region
CHANGED_LEVEL = 24
_MOST_CALLS = 24  # of a closed loop: a few more than a plan may have steps
_MOST_FAILURES = 3  # in a row, in a closed loop


@dataclass(frozen=True)
class StepScore:
    """One step of an open-loop plan that was reached, judged in the state before it."""

    subgoal: str
    facts: StepFacts
    # what the keyframe was read as; empty without one
    read_as: str = ""
    # the keyframe, read as a state, is one that a possible skill leads to
    keyframe_possible: bool | None = None
    # mean absolute error in grey levels inside the changed region, against the real next picture
    keyframe_error: float | None = None
    # the same for the picture before the step: what copying would score
    copy_error: float | None = None


@dataclass(frozen=True)
class SceneScore:
    """One planner on one scene: a row of the benchmark."""

    planner: str
    scene: str
    instruction: str
    # the metrics vector; in a results file None: a picture metric that the gate refused to score
    metrics: dict[str, float | None]
    # geometric mean of the scored entries; None when some are not scored
    score: float | None
    steps: tuple[StepScore, ...]
    # N of all step metrics
    denominator: int
    # why the open-loop stream ended
    reason: str
    # what broke the planner's contract, open loop and closed loop; empty: nothing
    faults: tuple[str, ...] = ()
    # each point lost, in words
    why: tuple[str, ...] = ()
    # every subgoal valid and done, and there was one
    plan_valid: bool = False
    closed_loop_subgoals: tuple[str, ...] = field(default=())

    def row(self) -> dict:
        """As JSON; infinities become null."""
        return dict(_finite(asdict(self)))


def judge(
    trail: Trail,
    planner: Planner,
    name: str,
    *,
    round_trip: RoundTrip | None = None,
) -> tuple[SceneScore, tuple[Step, ...]]:
    """Ask and judge one planner; returns its row and the steps of its open-loop plan.

    Args:
        round_trip: the planner's own tokenizer there and back; None: it draws pixels.
    """
    task = Task(
        trail.scene.instruction, Generation(max_subgoals=MOST_SUBGOALS, seed=trail.name.sampling_seed)
    )
    trail.go(())
    shown = trail.at(()).observation
    taken = take(task.instruction, _ask(planner, task, shown), shown, MOST_SUBGOALS)
    steps = taken.report.steps
    scores, skills = score_steps(trail, steps, round_trip)
    spoken, closed_skills, closed_fault = close_loop(trail, planner)
    score = make_score(trail, name, taken, scores, skills)
    score = with_closed_loop(trail, score, spoken, closed_skills, closed_fault)
    return score, steps


def score_steps(
    trail: Trail, steps: tuple[Step, ...], round_trip: RoundTrip | None
) -> tuple[list[StepScore], Skills]:
    """Judge and carry out steps in turn, to the first that is not valid or not done; and what was done."""
    scores: list[StepScore] = []
    skills: Skills = ()
    for step in steps:
        place = trail.at(skills)
        skill = language.parse_skill(step.subgoal, trail.scene)
        valid = skill is not None and skill in place.legal
        imagined = None
        if step.keyframe is not None:
            shown = _through(trail, skills, round_trip)
            imagined = imagine(trail, skills, step.keyframe.rgb, shown)
        if skill is None or not valid:
            scores.append(_step_score(step, skill, imagined, valid=False, done=False))
            break
        after = trail.at((*skills, skill))
        error = copy = None
        if step.keyframe is not None:
            error = changed_error(place.picture, after.picture, step.keyframe.rgb)
            copy = changed_error(place.picture, after.picture, place.picture)
        scores.append(_step_score(step, skill, imagined, valid=True, done=after.ok, error=error, copy=copy))
        skills += (skill,)
        if not after.ok:
            break
    return scores, skills


def close_loop(trail: Trail, planner: Planner) -> tuple[list[str], Skills, str]:
    """One subgoal from each new picture, carried out: the words, what was done, and a fault or ''."""
    history: list[StepOutcome] = []
    skills: Skills = ()
    failures = 0
    task = Task(
        trail.scene.instruction,
        Generation(max_subgoals=1, keyframes=False, seed=trail.name.sampling_seed),
    )
    for _ in range(_MOST_CALLS):
        trail.go(skills)
        shown = trail.at(skills).observation
        taken = take(task.instruction, _ask(planner, task, shown, history), shown, 1)
        if taken.fault or not taken.report.steps:
            return [past.step.subgoal for past in history], skills, _told(taken)
        step = taken.report.steps[0]
        skill = language.parse_skill(step.subgoal, trail.scene)
        ok = False
        if skill is not None and skill in trail.at(skills).legal:
            skills += (skill,)
            ok = trail.at(skills).ok
        history.append(StepOutcome(step, Outcome.SUCCEEDED if ok else Outcome.FAILED))
        failures = 0 if ok else failures + 1
        if failures == _MOST_FAILURES:
            break
    return [past.step.subgoal for past in history], skills, ""


def make_score(
    trail: Trail,
    name: str,
    taken: Taken,
    scores: list[StepScore],
    skills: Skills,
) -> SceneScore:
    """The open-loop part of a row, from judged steps."""
    planned = len(taken.report.steps)
    count = max(planned, len(trail.needed()))
    start, end = trail.at(()).success, trail.at(skills).success
    plan_valid = 0 < planned == len(scores) and all(s.facts.valid and s.facts.done for s in scores)
    vector: dict[str, float | None] = {**metrics.step_metrics([s.facts for s in scores], count)}
    vector["progress_open"] = metrics.progress(start, end)
    vector["success_open"] = float(plan_valid and all(end.values()))
    lost = [words for index, s in enumerate(scores) for words in _lost(index, s)]
    if taken.fault:
        lost.insert(0, f"{taken.fault}: {taken.detail}")
    elif taken.report.error_code:
        lost.insert(0, f"the planner gave up: {taken.report.error_message}")
    if len(scores) < count:
        lost.append(f"{count - len(scores)} of {count} steps missing or never reached")
    lost += [f"at the end of the plan not true: {k}" for k, v in end.items() if not v]
    return SceneScore(
        planner=name,
        scene=str(trail.name),
        instruction=trail.scene.instruction,
        metrics=vector,
        score=None,
        steps=tuple(scores),
        denominator=count,
        reason=taken.report.error_code or taken.report.reason,
        faults=(_told(taken),) if taken.fault else (),
        why=tuple(lost),
        plan_valid=plan_valid,
    )


def with_closed_loop(
    trail: Trail, score: SceneScore, spoken: list[str], skills: Skills, fault: str
) -> SceneScore:
    """The row with what the closed loop came to, and with its score. A fault anywhere costs the scene."""
    start, end = trail.at(()).success, trail.at(skills).success
    vector = dict(score.metrics)
    vector["progress_closed"] = metrics.progress(start, end)
    vector["success_closed"] = float(all(end.values()))
    faults = score.faults + ((f"closed loop, {fault}",) if fault else ())
    if faults:
        vector = {k: None if v is None else 0.0 for k, v in vector.items()}
    why = score.why + tuple(f"closed loop, {fault}" for fault in [fault] if fault)
    why += tuple(f"after the closed loop not true: {k}" for k, v in end.items() if not v)
    return SceneScore(
        **{
            **{f: getattr(score, f) for f in SceneScore.__dataclass_fields__},
            "metrics": {k: vector[k] for k in metrics.VECTOR},
            "score": metrics.score(vector),
            "faults": faults,
            "why": why,
            "closed_loop_subgoals": tuple(spoken),
        }
    )


def changed_error(before: Picture, after: Picture, imagined: Picture) -> float | None:
    """Mean |imagined - after| in grey levels where before and after differ; None: nowhere.

    Pictures [H, W, 3] uint8; the region is where some channel changes by more than CHANGED_LEVEL.
    """
    region = np.abs(after.astype(np.int16) - before).max(axis=2) > CHANGED_LEVEL
    if not region.any():
        return None
    return float(np.abs(imagined.astype(np.int16) - after)[region].mean())


def _ask(planner: Planner, task: Task, shown, history=()) -> Iterator:  # type: ignore[no-untyped-def]
    """The planner's stream; a plan() that fails before its first event fails in there."""
    yield from planner.plan(task, Still(shown), tuple(history))


def _through(trail: Trail, skills: Skills, round_trip: RoundTrip | None) -> Picture:
    """The real picture of a state as the planner's tokenizer gives it back; asked for once."""
    picture = trail.at(skills).picture
    if round_trip is None:
        return picture
    key = ("through", skills)
    if key not in trail.memory:
        trail.memory[key] = round_trip(picture)
    value = trail.memory[key]
    assert isinstance(value, np.ndarray)
    return value


def _step_score(
    step: Step,
    skill: Skill | None,
    imagined: Imagined | None,
    *,
    valid: bool,
    done: bool,
    error: float | None = None,
    copy: float | None = None,
) -> StepScore:
    if imagined is None:
        return StepScore(step.subgoal, StepFacts(valid, done), keyframe_error=error, copy_error=copy)
    facts = StepFacts(
        valid,
        done,
        objects_found=max(0, len(imagined.found) - imagined.strays),
        objects=imagined.objects,
        settle_m=imagined.settle_m,
        feasible_m=imagined.feasible_m,
        background_level=imagined.background_level,
        agrees=valid and imagined.skill is not None and imagined.skill == skill,
    )
    return StepScore(step.subgoal, facts, imagined.name, imagined.skill is not None, error, copy)


def _lost(index: int, step: StepScore) -> Iterator[str]:
    """Each point that one step lost, in words."""
    facts, place = step.facts, f"step {index + 1} ({step.subgoal[:60]})"
    if not facts.valid:
        yield f"{place}: the words are no skill that is possible there"
    elif not facts.done:
        yield f"{place}: possible, but carrying it out failed"
    if facts.objects is None:
        yield f"{place}: no picture"
        return
    if not facts.agrees:
        yield f"{place}: the picture shows {step.read_as}"
    if facts.objects_found is not None and facts.objects_found < facts.objects:
        yield f"{place}: {facts.objects - facts.objects_found} of {facts.objects} objects not there once"
    elif facts.settle_m is not None and facts.settle_m >= metrics.SETTLE_M:
        yield f"{place}: the imagined state falls by {100 * facts.settle_m:.1f} cm"
    if facts.feasible_m is not None and 0.005 < facts.feasible_m < math.inf:
        yield f"{place}: {100 * facts.feasible_m:.1f} cm from the nearest possible state"
    if facts.background_level is not None and facts.background_level > metrics.BACKGROUND_LEVEL / 4:
        yield f"{place}: what stands still differs by {facts.background_level:.0f} grey levels"


def _told(taken: Taken) -> str:
    return f"{taken.fault}: {taken.detail}" if taken.fault else ""


def _finite(value):  # type: ignore[no-untyped-def]
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
