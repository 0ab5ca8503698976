"""Plans and generations through the decoder with recorded passes, here run one by one on a CPU."""

import copy
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from emu_planner.engine.branches import Branches
from emu_planner.engine.generator import Generator
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.sampler import Sampling
from emu_planner.plan import FinishReason, Generation, KeyframeProgress, PlanComplete, Stop, Task, collect
from tests.engine.alike import check_alike, check_generations, plan_of
from tests.engine.conftest import CONFIG, INSTRUCTION, SUBGOALS

# hot enough for a seed to matter; words stay those of the plan
HOT = replace(CONFIG, guidance_scale=2.0, image=Sampling(temperature=3.0))


@pytest.fixture(scope="module")
def exact(parts):
    """In float64, where rounding changes no token."""
    return copy.deepcopy(parts[0]).double(), *parts[1:]


@pytest.fixture(scope="module")
def planners(exact):
    """One with recorded passes, and a plain one."""
    return EmuPlanner(*exact, HOT, graphs=True), EmuPlanner(*exact, HOT, graphs=False)


def report(planner, frames, seed, **asked):
    events = planner.plan(Task(INSTRUCTION, Generation(seed=seed, **asked)), frames)
    return collect(INSTRUCTION, events)


def is_free(planner):
    return type(planner._decoder.branches(capacity=64)) is not Branches


def test_plan_after_plan_is_the_plain_one(planners, frames):
    recorded, plain = planners
    assert isinstance(recorded._decoder, DeviceDecoder)
    found = []
    for seed in range(4):
        for asked in ({}, {"guidance_scale": 1.0}, {"max_subgoals": 1}, {"keyframes": False}):
            made = report(recorded, frames, seed, **asked)
            assert made == report(plain, frames, seed, **asked)
            found.append(made)
    assert tuple(step.subgoal for step in found[0].steps) == SUBGOALS
    assert len({made.steps[0].keyframe.rgb.tobytes() for made in found[::4]}) > 1, "seeds must matter"


def test_in_another_order_of_sums_words_and_pictures_are_the_plain_ones(parts, frames):
    """As on a GPU: in float32, made of fewer, larger pieces; only confidence may follow the rounding."""
    model = copy.deepcopy(parts[0])  # its weights are moved
    recorded, plain = EmuPlanner(model, *parts[1:], HOT), EmuPlanner(*parts, HOT)
    recorded._decoder = DeviceDecoder(model, DeviceConfig(fused=True))
    for seed in range(6):
        for asked in ({}, {"guidance_scale": 1.0}, {"temperature": 0.0}):
            made = plan_of(recorded, frames, seed, **asked)
            check_alike(made, plan_of(plain, frames, seed, **asked), (seed, asked))


def test_a_plan_that_differs_is_told_by_its_first_token(planners, frames):
    recorded, plain = planners
    expected = plan_of(plain, frames, 1)
    other = plan_of(recorded, frames, 2)
    told = r"token \d+ \(step 0, IMAGE, \d+ since .*plainly its score is -?[\d.]+; the best two are .* apart"
    with pytest.raises(AssertionError, match=told):
        check_alike(other, expected)
    fewer = plan_of(recorded, frames, 1, max_subgoals=1)
    with pytest.raises(AssertionError, match="tokens instead of"):
        check_alike(fewer, expected)


def test_another_confidence_is_told(planners, frames):
    made = plan_of(planners[1], frames, 1)
    first, *rest = made.report.steps
    less = replace(first, confidence=first.confidence - 1e-4)
    with pytest.raises(AssertionError, match="tokens and pictures are equal; confidence"):
        check_alike(replace(made, report=replace(made.report, steps=(less, *rest))), made)


def test_plans_at_once_are_those_made_alone(planners, frames):
    recorded, plain = planners
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda seed: report(recorded, frames, seed), range(6)))
    assert found == [report(plain, frames, seed) for seed in range(6)]
    assert is_free(recorded)


def test_a_plan_that_is_over_holds_nothing(planners, frames):
    recorded, _ = planners
    task = Task(INSTRUCTION, Generation(seed=1, max_subgoals=1))
    events = recorded.plan(task, frames)
    for event in events:
        if isinstance(event, PlanComplete):
            break
        assert not is_free(recorded) or event.__class__.__name__ == "PlanStarted"
    assert is_free(recorded)  # `events` still lives


def test_a_stop_inside_a_picture_ends_the_plan(planners, frames):
    recorded, plain = planners
    stop, reasons = Stop(), []
    for event in recorded.plan(Task(INSTRUCTION, Generation(seed=1)), frames, stop=stop):
        if isinstance(event, KeyframeProgress):
            stop.request()
        if isinstance(event, PlanComplete):
            reasons.append(event.reason)
    assert reasons == [FinishReason.INTERRUPTED]
    assert report(recorded, frames, 2) == report(plain, frames, 2)


@pytest.mark.parametrize("room", [8, 20, 30])
def test_a_full_context_ends_the_plan_where_it_ends_the_plain_one(exact, planners, frames, room):
    prompt = report(planners[1], frames, 1).timing.prompt_tokens
    small = replace(HOT, context=prompt + room)
    found = report(EmuPlanner(*exact, small, graphs=True), frames, 1)
    assert found == report(EmuPlanner(*exact, small, graphs=False), frames, 1)
    assert found.reason == FinishReason.LENGTH.value


def test_what_is_kept_goes_with_the_planner(exact, frames):
    planner = EmuPlanner(*exact, HOT, graphs=True)
    report(planner, frames, 1)
    memory = weakref.ref(planner._decoder._memory)
    assert memory() is not None
    del planner
    assert memory() is None


def test_shared_passes_go_before_recorded_ones(exact, frames, planners):
    shared = EmuPlanner(*exact, HOT, plans=2, graphs=True)
    assert shared._decoder is shared._scheduler
    assert report(shared, frames, 1) == report(planners[1], frames, 1)


def test_generations_of_all_kinds_are_the_plain_ones(exact):
    check_generations(Generator(*exact, graphs=True), Generator(*exact, graphs=False))
