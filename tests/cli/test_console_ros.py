"""The page's robot on ROS: a planner node process, pictures over DDS, reviews, hold, a node that dies."""

import time
from collections.abc import Callable

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.srv import ReportOutcome
from std_srvs.srv import SetBool

from emu_planner.cli.console_ros import RosRobot
from emu_planner.cli.processes import free_domain
from emu_planner.console.robot import Decision, Ending, Phase, Refused, Snapshot, StepState
from tests.ros.rig import PATIENCE_S, Rig, next_in, running_rig, stop_process

pytestmark = pytest.mark.ros
DOMAIN = free_domain()


class Desk:
    """A console's robot, and the node behind it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.node = rig.start_node("tests.ros.scripted", subgoal_validity=30.0)
        self.robot = RosRobot("/", ("cam",))
        self.active = rig.listen_active()
        self.until(lambda s: not s.trouble and self.robot.frames())

    def until(self, condition: Callable[[Snapshot], object]) -> Snapshot:
        deadline = time.monotonic() + PATIENCE_S
        while not condition(snapshot := self.robot.snapshot()):
            assert time.monotonic() < deadline, f"waited in vain: {snapshot}"
            time.sleep(0.01)
        return snapshot

    def ask(self, sentence: str) -> None:
        """Ask, once the node is ready for it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.robot.plan(sentence, "Anna")
                return
            except Refused:
                assert time.monotonic() < deadline, "the planner node takes no goal"
                time.sleep(0.05)

    def pending(self):
        return self.until(lambda s: s.pending and s.pending.keyframe).pending

    def finish(self) -> None:
        """What an executor does with the step on offer."""
        subgoal = next_in(self.active, lambda message: message.state == message.STATE_APPROVED)
        for outcome in (ReportOutcome.Request.STARTED, ReportOutcome.Request.SUCCEEDED):
            assert self.rig.report(subgoal, outcome, "it is there").success


@pytest.fixture(scope="module")
def desk():
    with running_rig(DOMAIN) as rig, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
        rig.start_camera()
        made = Desk(rig)
        yield made
        made.robot.close()


def test_a_plan_with_an_edit_and_a_skip_to_its_end(desk: Desk):
    desk.ask("do it twice")
    first = desk.pending()
    assert desk.robot.snapshot().asked_by == "Anna"
    assert [name for name, _ in first.before] == [name for name, _ in first.keyframe] == ["cam"]
    desk.robot.review(first.index, first.epoch, Decision.EDIT, "wave", "Anna")
    with pytest.raises(Refused, match="Not done"):
        desk.robot.review(first.index, first.epoch, Decision.APPROVE, "", "Ben")
    desk.finish()
    now = desk.until(lambda s: s.pending and s.pending.index == 1)
    done = now.steps[0]
    assert (done.state, done.words, done.original) == (StepState.SUCCEEDED, "wave", first.words)
    assert (done.decided_by, done.decision, done.detail) == ("Anna", "edit", "it is there")
    assert done.keyframe == first.keyframe
    assert done.before == first.before
    desk.robot.review(1, now.pending.epoch, Decision.SKIP, "", "Ben")
    third = desk.until(lambda s: s.pending and s.pending.index == 2).pending
    desk.robot.review(2, third.epoch, Decision.APPROVE, "", "Anna")
    desk.finish()
    now = desk.until(lambda s: s.ending)
    assert now.ending is Ending.COMPLETE
    assert [(s.state, s.decided_by) for s in now.steps] == [
        (StepState.SUCCEEDED, "Anna"),
        (StepState.SKIPPED, "Ben"),
        (StepState.SUCCEEDED, "Anna"),
    ]
    assert len(now.journal) == 4


def test_regenerate_and_stop(desk: Desk):
    desk.ask("do it")
    first = desk.pending()
    desk.robot.review(0, first.epoch, Decision.REGENERATE, "", "Anna")
    second = desk.until(lambda s: s.pending and s.pending.epoch > first.epoch).pending
    assert second.words != first.words
    desk.robot.stop("Anna")
    assert desk.until(lambda s: s.ending).ending is Ending.CANCELED


def test_hold_is_the_nodes_and_latches(desk: Desk):
    desk.ask("do it slowly")
    desk.until(lambda s: s.phase is Phase.GENERATING_TEXT and s.words)
    desk.robot.hold("Ben")
    now = desk.until(lambda s: s.ending)
    assert (now.ending, now.held_by) == (Ending.HELD, "Ben")
    with pytest.raises(Refused, match="held"):
        desk.robot.plan("do it", "Anna")
    desk.robot.rearm("Anna")
    desk.until(lambda s: not s.hold)
    # a hold of anybody else on the graph is shown too
    desk.rig.call(SetBool, "planner/hold", data=True)
    assert desk.until(lambda s: s.hold).hold == "held by ~/hold"
    desk.robot.rearm("Anna")
    desk.until(lambda s: not s.hold)


def test_what_another_client_asked_for_is_shown_and_can_be_decided(desk: Desk):
    desk.rig.send("do it twice")
    step = desk.pending()
    assert desk.robot.snapshot().asked_by == "another client"
    desk.robot.review(step.index, step.epoch, Decision.REJECT, "", "Ben")
    assert desk.until(lambda s: s.ending).steps[0].state is StepState.REJECTED


def test_a_page_that_comes_late_sees_the_plan_with_its_pictures(desk: Desk):
    desk.ask("do it")
    step = desk.pending()
    desk.robot.close()
    desk.robot = RosRobot("/", ("cam",))
    late = desk.pending()
    assert (late.words, late.epoch, late.keyframe) == (step.words, step.epoch, step.keyframe)
    assert step.before
    desk.robot.stop("Anna")
    desk.until(lambda s: s.ending)


def test_a_node_that_ended_is_said_and_comes_back_by_itself(desk: Desk):
    desk.ask("do it")
    desk.pending()
    stop_process(desk.node)
    trouble = desk.until(lambda s: "silent" in s.trouble)
    with pytest.raises(Refused):
        desk.robot.plan("do it", "Anna")
    with pytest.raises(Refused, match="HOLD WAS NOT CONFIRMED"):
        desk.robot.hold("Anna")
    assert not desk.robot.snapshot().hold, trouble
    desk.node = desk.rig.start_node("tests.ros.scripted")
    # it told so before it went
    assert desk.until(lambda s: not s.trouble and s.ending).ending is Ending.CANCELED
    desk.ask("do it")
    assert desk.pending()
