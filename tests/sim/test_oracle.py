"""The oracle solves every family, and its planner shows the real future."""

from dataclasses import replace

import numpy as np
import pytest

from emu_planner.plan import FinishReason, Generation, PlanError, Still, Task, collect
from sim import episode, language, robots, tasks
from sim.oracle import OraclePlanner, next_skill
from sim.scene import BENCHMARK_FIRST_SEED, Fact, Goal, Skill
from sim.state import SymbolicState
from sim.world import World

# one seed of either side; python -m sim.oracle_record tries hundreds
SEEDS = [1, BENCHMARK_FIRST_SEED]
# fewest and most steps of a family that is not listed: 2 and 8
STEPS = {"push": (1, 1), "chain": (4, 13), "kitchen": (7, 9)}


@pytest.mark.parametrize("family", list(tasks.FAMILIES))
def test_solves_a_sample_of_seeds(family: str) -> None:
    fewest, most = STEPS.get(family, (2, 8))
    with World() as world:
        for seed in SEEDS:
            scene = world.reset(family, seed)
            assert not all(world.success().values()), f"{family} {seed} is solved at the start"
            done = episode.run(world, episode.oracle_chooser(scene))
            assert all(done.success.values()), (seed, done.success)
            assert fewest <= len(done.steps) <= most
            assert len(done.pictures) == len(done.states) == len(done.steps) + 1
            assert done.pictures[0].shape == (192, 384, 3)


@pytest.mark.parametrize("family", [name for name in tasks.FAMILIES if name not in tasks.FIRST_COUNTS])
def test_recovers_from_a_detour(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode, "DETOUR_SHARE", 1.0)
    with World() as world:
        done = episode.record(world, family, 12)
    assert done.detour
    assert all(done.success.values())


@pytest.mark.parametrize("family", tasks.FIRST_COUNTS)
def test_no_detour_where_the_words_speak_of_the_first_picture(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode, "DETOUR_SHARE", 1.0)
    with World() as world:
        assert episode.record(world, family, 12).detour == ()


def test_puts_down_what_it_holds_when_that_is_not_wanted() -> None:
    state = SymbolicState((Fact("red block", "held", "gripper"), Fact("blue block", "on", "table")))
    goal = Goal((Fact("blue block", "in", "red box"),))
    assert next_skill(goal, state) == Skill("place", "red block", "table")


def test_clears_a_target_before_it_stacks() -> None:
    state = SymbolicState(
        (
            Fact("red block", "on", "table"),
            Fact("blue block", "on", "table"),
            Fact("cyan cylinder", "on", "blue block"),
        )
    )
    goal = Goal((Fact("blue block", "on", "table"), Fact("red block", "on", "blue block")))
    assert next_skill(goal, state) == Skill("pick", "cyan cylinder")


def test_empties_a_full_tray_of_strangers() -> None:
    state = SymbolicState(
        (
            Fact("red block", "on", "table"),
            Fact("blue block", "in", "red tray"),
            Fact("red cylinder", "in", "red tray"),
        ),
        full=("red tray",),
    )
    goal = Goal((Fact("red block", "in", "red tray"), Fact("red cylinder", "in", "red tray")), ("red tray",))
    assert next_skill(goal, state) == Skill("pick", "blue block")


def test_refuses_a_lost_object() -> None:
    state = SymbolicState((Fact("red block", "lost"),))
    with pytest.raises(PlanError, match="red block is lost"):
        next_skill(Goal((Fact("red block", "in", "red box"),)), state)


@pytest.mark.parametrize("robot", list(robots.ROBOTS))
def test_plan_shows_what_then_happens_and_moves_nothing(robot: str) -> None:
    with World() as world:
        scene = world.reset("container", 1, robot)
        before = world.picture()
        planner = OraclePlanner(world)
        report = collect(scene.instruction, planner.plan(Task(scene.instruction), Still(world.observation())))
        assert np.array_equal(world.picture(), before)
        assert report.reason == FinishReason.STOP.value
        for index, step in enumerate(report.steps):
            assert step.index == index
            skill = language.parse_skill(step.subgoal, scene)
            assert skill is not None
            assert world.execute(skill).ok
            assert step.keyframe is not None
            assert np.array_equal(step.keyframe.rgb, world.picture())
        planner.close()
        assert all(world.success().values())


def test_a_plan_made_again_is_the_same_to_the_last_bit() -> None:
    # in this scene the drawer stood elsewhere in its last bits when a plan had been made before
    with World() as world:
        scene = world.reset("drawer_put", BENCHMARK_FIRST_SEED + 2)
        planner = OraclePlanner(world)
        still, task = Still(world.observation()), Task(scene.instruction, Generation(keyframes=False))
        ends = []
        for _ in range(2):
            assert collect(scene.instruction, planner.plan(task, still)).reason == FinishReason.STOP.value
            ahead = planner._ahead
            ends.append([ahead.fraction(name) for name in scene.parts])
            ends[-1] += [ahead.pose(item.name) for item in scene.items]
        planner.close()
        assert ends[0] == ends[1]


def test_plan_stops_at_the_limit_and_refuses_strange_words() -> None:
    with World() as world:
        scene = world.reset("stack", 0)
        planner = OraclePlanner(world)
        still = Still(world.observation())
        task = Task(scene.instruction, Generation(max_subgoals=1, keyframes=False))
        report = collect(scene.instruction, planner.plan(task, still))
        assert (report.reason, len(report.steps)) == (FinishReason.LENGTH.value, 1)
        assert report.steps[0].keyframe is None
        with pytest.raises(PlanError, match="cannot read"):
            list(planner.plan(Task("make me a coffee"), still))
        planner.close()


def _closed(*where: Fact) -> SymbolicState:
    return SymbolicState(where, parts=(Fact("red drawer", "closed"), Fact("blue button", "dark")))


def test_opens_before_it_takes_out_and_before_it_puts_in() -> None:
    inside = _closed(Fact("cyan block", "in", "red drawer"), Fact("green block", "on", "table"))
    assert next_skill(Goal((Fact("cyan block", "on", "table"),)), inside) == Skill("open", "red drawer")
    assert next_skill(Goal((Fact("green block", "in", "red drawer"),)), inside) == Skill("open", "red drawer")
    # with something in hand the drawer cannot be opened: it goes to the table first
    held = _closed(Fact("green block", "held", "gripper"))
    goal = Goal((Fact("green block", "in", "red drawer"),))
    assert next_skill(goal, held) == Skill("place", "green block", "table")


def test_stages_come_in_their_order() -> None:
    goal = Goal((Fact("blue button", "lit"),), stages=((Fact("green block", "in", "red tray"),),))
    state = _closed(Fact("green block", "on", "table"))
    assert next_skill(goal, state) == Skill("pick", "green block")
    assert next_skill(goal, replace(state, stage=1)) == Skill("press", "blue button")


def test_a_spot_that_is_taken_is_cleared_first() -> None:
    state = SymbolicState(
        (
            Fact("red block", "on", "table"),
            Fact("blue block", "on", "table"),
            Fact("cyan block", "on", "table"),
        ),
        blocked=(Fact("cyan block", "blocks", "left_of blue block"),),
    )
    goal = Goal((Fact("red block", "left_of", "blue block"),))
    assert next_skill(goal, state) == Skill("pick", "cyan block")
    free = replace(state, blocked=())
    assert next_skill(goal, free) == Skill("pick", "red block")
    held = replace(free, where=(Fact("red block", "held", "gripper"), *free.where[1:]))
    assert next_skill(goal, held) == Skill("place", "red block", "blue block", "left_of")
