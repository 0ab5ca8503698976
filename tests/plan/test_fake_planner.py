"""FakePlanner keeps the contract of plan.Planner, and collect() makes a Report of it."""

import pytest

from emu_planner.plan import (
    ErrorCode,
    Generation,
    KeyframeProgress,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    StepComplete,
    StepOutcome,
    Still,
    Stop,
    Task,
    TextDelta,
    collect,
)
from tests.fakes import FakePlanner, fake_observation

TASK = Task("stack the blocks", Generation(seed=7))


def report(task=TASK, noise=0, history=(), stop=None, planner=None):
    planner = planner or FakePlanner()
    frames = Still(fake_observation(noise))
    return collect(task.instruction, planner.plan(task, frames, history, stop=stop))


def test_events_come_in_the_order_that_the_contract_states():
    events = list(FakePlanner(steps=2).plan(TASK, Still(fake_observation())))
    kinds = [type(event) for event in events]
    step = [TextDelta] * 5 + [KeyframeProgress] * 4 + [StepComplete]
    assert kinds == [PlanStarted, *step, *step, PlanComplete]
    words = "".join(event.text for event in events[1:6])
    assert words == events[10].step.subgoal


def test_same_input_same_plan_and_other_input_other_plan():
    first = report()
    assert report() == first
    past = StepOutcome(first.steps[0], Outcome.SUCCEEDED)
    failed = StepOutcome(first.steps[0], Outcome.FAILED)
    others = [
        report(Task("stack the bowls", TASK.generation)),
        report(Task(TASK.instruction, Generation(seed=8))),
        report(noise=1),
        report(history=[past]),
        report(history=[failed]),
    ]
    plans = {tuple(step.subgoal for step in one.steps) for one in [first, *others]}
    assert len(plans) == 6


def test_numbers_go_on_after_the_history():
    first = report()
    history = [StepOutcome(step, Outcome.SUCCEEDED) for step in first.steps]
    assert [step.index for step in report(history=history).steps] == [3, 4, 5]


def test_limits_and_settings_are_kept():
    limited = report(Task("x", Generation(max_subgoals=2, keyframes=False)))
    assert limited.reason == "length"
    assert [step.keyframe for step in limited.steps] == [None, None]
    assert report(Task("x", Generation(max_subgoals=3))).reason == "stop"


def test_stop_ends_the_stream_between_tokens():
    stop = Stop()
    events = FakePlanner().plan(TASK, Still(fake_observation()), stop=stop)
    for event in events:
        if isinstance(event, TextDelta):
            stop.request()
            break
    assert collect("x", events).reason == "interrupted"


def test_an_error_keeps_the_steps_before_it():
    failed = report(planner=FakePlanner(fail_at=2))
    assert (failed.reason, failed.error_code, len(failed.steps)) == ("error", "invalid_output", 2)


def test_collect_does_not_swallow_a_broken_stream():
    events = list(FakePlanner().plan(TASK, Still(fake_observation())))
    with pytest.raises(AssertionError):
        collect("x", events[:-1])


def test_plan_error_reads_as_code_and_words():
    assert str(PlanError(ErrorCode.TIMEOUT, "too slow")) == "timeout: too slow"
