"""The calls that a goal made of its planner, worked out from what was recorded of it.

A goal in an open loop calls its planner once. In a closed loop it calls it for each step, with the
history of the steps before: reviewed words and the executor's outcomes are in it. So the calls hold
everything that people and executors did, and to replay a session is to make its calls again. What
goal/goal.py does with reviews and outcomes is mirrored here and nowhere else. Knows no planner.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from emu_planner.bags.read import BagError
from emu_planner.bags.session import RecordedGoal, Session
from emu_planner.goal.states import Decision, GoalRequest, StepState
from emu_planner.plan import FinishReason, Keyframe, Outcome, PlanError, Step, StepOutcome, Task
from emu_planner.ros import convert
from emu_planner.ros.convert import DECISIONS, STEP_STATES, compressed_to_frame, goal_to_request, time_to_s

_STATES = {number: state for state, number in STEP_STATES.items()}
_OUTCOMES = {
    StepState.SUCCEEDED: Outcome.SUCCEEDED,
    StepState.FAILED: Outcome.FAILED,
    StepState.SKIPPED: Outcome.SKIPPED,
}


@dataclass(frozen=True)
class Call:
    """One call of a planner, and what it answered."""

    task: Task
    # the pictures it began from: camera and capture time, s
    pictures: tuple[tuple[str, float], ...]
    history: tuple[StepOutcome, ...]
    # keyframe None: the planner made none, or it is not in the bag
    steps: tuple[Step, ...]
    # None: the call was ended, or only its first steps are known
    finish: FinishReason | None


@dataclass(frozen=True)
class _Made:
    """A step when it was first seen."""

    seen_ns: int
    plan: Any
    subgoal: Any


def calls_of(session: Session, goal: RecordedGoal) -> list[Call]:
    """The calls in order.

    Raises:
        BagError: the bag does not hold enough of the goal; says what is missing.
    """
    if goal.goal is None:
        raise BagError("its goal is not in the bag: the recorder was started later")
    if not goal.plans:
        raise BagError("no plan was made")
    params = session.parameters(goal.stamp_ns)
    try:
        request = goal_to_request(goal.goal, goal.plan_id, params)
    except PlanError as error:
        raise BagError(f"its goal was not valid: {error.message}") from error
    made = _made(goal)
    last_ns, last = goal.plans[-1]
    if not made and _finish(last) is None:
        raise BagError(f"it ended before a step was planned: {_why(goal)}")
    if not request.closed_loop:
        seen_ns = made[0].seen_ns if made else last_ns
        steps = tuple(_planned(goal, one) for one in made)
        return [_call(session, request, last, seen_ns, last.header.stamp, (), steps, _finish(last))]
    calls = []
    for place, one in enumerate(made):
        call = _call(
            session,
            request,
            one.plan,
            one.seen_ns,
            one.subgoal.header.stamp,
            _history(goal, made, one.plan, one.subgoal.index),
            (_planned(goal, one),),
            None,
        )
        again = sum(_is_taken_back(goal, before) for before in made[:place])
        calls.append(_with_seed(call, one.plan.seed, again))
    history = _history(goal, made, last, None)
    if _finish(last) is not None and not 0 < request.task.generation.max_subgoals <= len(history):
        end = _call(session, request, last, last_ns, last.header.stamp, history, (), _finish(last))
        calls.append(_with_seed(end, last.seed, sum(_is_taken_back(goal, one) for one in made)))
    return calls


def _call(
    session: Session,
    request: GoalRequest,
    plan: Any,
    seen_ns: int,
    stamp: Any,
    history: tuple[StepOutcome, ...],
    steps: tuple[Step, ...],
    finish: FinishReason | None,
) -> Call:
    # time limits are left out: what they cut off depends on the machine
    generation = replace(
        request.task.generation,
        max_subgoals=1 if request.closed_loop else request.task.generation.max_subgoals,
        seed=plan.seed,
        first_subgoal_timeout_s=None,
        subgoal_timeout_s=None,
    )
    pictures = _pictures(session, request.cameras, time_to_s(stamp), seen_ns)
    return Call(replace(request.task, generation=generation), pictures, history, steps, finish)


def _with_seed(call: Call, seed: int, again: int) -> Call:
    generation = replace(call.task.generation, seed=(seed + again) % 2**64)
    return replace(call, task=replace(call.task, generation=generation))


def _made(goal: RecordedGoal) -> list[_Made]:
    """Each step at its first appearance; one that was made again appears again."""
    made: dict[tuple[int, float], _Made] = {}
    for seen_ns, plan in goal.plans:
        for subgoal in plan.subgoals:
            key = (subgoal.index, time_to_s(subgoal.generated_at))
            made.setdefault(key, _Made(seen_ns, plan, subgoal))
    return list(made.values())


def _planned(goal: RecordedGoal, made: _Made) -> Step:
    """A step in the planner's words."""
    subgoal = made.subgoal
    return _step(goal, subgoal, subgoal.original_instruction or subgoal.instruction, subgoal.epoch)


def _step(goal: RecordedGoal, subgoal: Any, words: str, epoch: int) -> Step:
    confidence = None if math.isnan(subgoal.confidence) else float(subgoal.confidence)
    message = goal.keyframes.get((epoch, subgoal.index)) if subgoal.has_keyframe else None
    keyframe = None
    if message is not None:
        rgb = compressed_to_frame(message.image, "keyframe").rgb
        keyframe = Keyframe(rgb, tuple(message.views))
    return Step(subgoal.index, words, keyframe, confidence)


def _history(goal: RecordedGoal, made: list[_Made], plan: Any, before: int | None) -> tuple[StepOutcome, ...]:
    """What a planner was told of the steps in a plan: those that came to an end."""
    epochs = {(one.subgoal.index, time_to_s(one.subgoal.generated_at)): one.subgoal.epoch for one in made}
    past = []
    for subgoal in plan.subgoals:
        outcome = _OUTCOMES.get(_STATES.get(subgoal.state, StepState.EXPIRED))
        if outcome is None or subgoal.index == before:
            continue
        epoch = epochs[subgoal.index, time_to_s(subgoal.generated_at)]
        step = _step(goal, subgoal, subgoal.instruction, epoch)
        past.append(StepOutcome(step, outcome, subgoal.outcome_detail))
    return tuple(past)


def _is_taken_back(goal: RecordedGoal, made: _Made) -> bool:
    """Whether a reviewer had the step made again."""
    place = (made.subgoal.epoch, made.subgoal.index)
    return any(
        DECISIONS.get(asked.request.decision) is Decision.REGENERATE
        and (asked.request.epoch, asked.request.index) == place
        and asked.response is not None
        and asked.response.success
        for asked in goal.reviews
    )


def _pictures(
    session: Session, cameras: tuple[str, ...], stamp_s: float, seen_ns: int
) -> tuple[tuple[str, float], ...]:
    """The observation whose oldest picture has this stamp; the last one before the plan was seen."""
    fitting = [
        (at_ns, pictures)
        for at_ns, pictures in session.observed
        if {camera for camera, _ in pictures} == set(cameras)
        and min(stamp for _, stamp in pictures) == stamp_s
    ]
    if not fitting:
        raise BagError(f"the bag does not say which pictures it was made from at {stamp_s:.6f} s")
    earlier = [pictures for at_ns, pictures in fitting if at_ns <= seen_ns]
    by_name: Mapping[str, float] = dict(earlier[-1] if earlier else fitting[0][1])
    return tuple((camera, by_name[camera]) for camera in cameras)


def _finish(plan: Any) -> FinishReason | None:
    is_whole = plan.state == convert.PLAN_STATES[convert.Ending.COMPLETE]
    return FinishReason(plan.finish_reason) if is_whole else None


def _why(goal: RecordedGoal) -> str:
    return (goal.result.error_msg if goal.result is not None else "") or goal.plans[-1][1].finish_reason
