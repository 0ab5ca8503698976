"""A planner in its own process: what it says arrives; when it breaks, its scene is lost and no more."""

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import psutil
import pytest

from emu_planner.plan import Generation, Observation, StepOutcome, Task
from emu_planner.plan.frame import Frame, Still
from sim.bench.cheats import FindsTheWorld, WaitsForEver
from sim.bench.plans import PlannerFault, Taken, take
from sim.bench.supervisor import Limits, StartError, Supervised
from sim.world import World
from tests.sim.bench.scripted import Breaks, Says, cannot_start, gives_up

NOISE = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
SHOWN = Observation((Frame(NOISE, "front"), Frame(NOISE[::-1].copy(), "side")), 7)


def ask(planner: Supervised, what: str, most: int = 10, history: Sequence[StepOutcome] = ()) -> Taken:
    task = Task(what, Generation(max_subgoals=most))
    return take(what, planner.plan(task, Still(SHOWN), history), SHOWN, most)


@pytest.fixture(scope="module")
def breaking() -> Iterator[Supervised]:
    with Supervised(Breaks, Limits(start_s=60, plan_s=2.0)) as planner:
        planner.start()
        yield planner


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("crash", "crashed"),
        ("exit", "crashed"),
        ("hang", "too slow"),
        ("half", "too slow"),
        ("raise", "raised"),
        ("shape", "bad picture"),
        ("dtype", "raised"),
        ("bytes", "bad picture"),
        ("empty", "empty words"),
        ("many", "too many steps"),
        ("stream", "broken stream"),
        ("unfinished", "broken stream"),
    ],
)
def test_what_is_no_plan_is_a_fault_and_the_next_plan_is_well(
    breaking: Supervised, what: str, kind: str
) -> None:
    taken = ask(breaking, what)
    assert taken.fault == kind
    assert taken.detail
    assert taken.report.steps == ()
    well = ask(breaking, "nothing special")
    assert well.fault == ""
    assert [step.subgoal for step in well.report.steps] == ["pick up the red block"]


def test_a_plan_arrives_as_it_was_made() -> None:
    with Supervised(gives_up) as planner:
        planner.start()
        assert planner.has_round_trip
        assert np.array_equal(planner.round_trip(NOISE), NOISE // 2 * 2)
        assert planner.has_random_picture
        first, same, other = (planner.random_picture(NOISE, seed) for seed in (1, 1, 2))
        assert first.shape == NOISE.shape
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)
        taken = ask(planner, "do it")
        task = Task("do it", Generation(max_subgoals=10))
        direct = take("do it", gives_up().plan(task, Still(SHOWN)), SHOWN, 10)
        assert taken == direct
        assert taken.report.error_code == "invalid_output"
        assert len(taken.report.steps) == 2
        assert planner.restarts == 0


def test_a_planner_that_cannot_start_is_told_at_once() -> None:
    with Supervised(cannot_start) as planner, pytest.raises(StartError, match="no such weights"):
        planner.start()


def test_who_does_not_listen_is_too_slow() -> None:
    # more than a pipe holds, so that sending it waits for the reader
    large = Observation((Frame(np.zeros((2048, 2048, 3), np.uint8), "front"),), 1)
    with Supervised(partial(Says, ()), Limits(start_s=60, plan_s=1.0, picture_s=1.0)) as planner:
        for ask_once in (
            lambda: list(planner.plan(Task("do it"), Still(large))),
            lambda: planner.round_trip(large.frames[0].rgb),
        ):
            planner.start()
            assert planner._process is not None
            assert planner._process.pid is not None
            os.kill(planner._process.pid, signal.SIGSTOP)
            with pytest.raises(PlannerFault, match="too slow"):
                ask_once()
        assert planner.restarts == 1


def test_no_process_is_left() -> None:
    with Supervised(partial(Says, ())) as planner:
        planner.start()
        assert planner._process is not None
        pid = planner._process.pid
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def test_no_world_is_in_the_planners_process(world: World) -> None:
    scene = world.reset("zone", 5)
    shown = world.observation()
    task = Task(scene.instruction, Generation(max_subgoals=10, seed=1))
    inside = take(task.instruction, FindsTheWorld().plan(task, Still(shown)), shown, 10)
    # the trick works where the world is: the search itself is not broken
    assert inside.report.steps
    with Supervised(FindsTheWorld, Limits(start_s=60, plan_s=30)) as planner:
        outside = take(task.instruction, planner.plan(task, Still(shown)), shown, 10)
    assert outside.fault == ""
    assert outside.report.steps == ()


def test_a_planner_that_waits_for_ever_is_ended_and_loses_its_scene() -> None:
    with Supervised(WaitsForEver, Limits(start_s=60, plan_s=1.0)) as planner:
        taken = ask(planner, "do it")
    assert taken.fault == "too slow"
    assert taken.report.steps == ()


@pytest.mark.parametrize("name", ["start_s", "plan_s", "picture_s"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0.0})
