"""The action execute_subgoal beside the real planner node, over DDS."""

import queue
import time

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import ExecuteSubgoal, PlanTask
from emu_planner_msgs.msg import Subgoal
from rclpy.action import ActionClient
from std_srvs.srv import SetBool, Trigger

from emu_planner.executor.executor import SubgoalExecutor, Work
from tests.ros.rig import ABORTED, CANCELED, OK, Rig, next_in, running_rig, until

pytestmark = pytest.mark.ros
RESULT = ExecuteSubgoal.Result


class Robot:
    """A body that moves until it is told that it has arrived, and a client of its action."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.moving: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.arrived: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
        self.executor = SubgoalExecutor(rig.node, self._carry_out, obey_topic=False)
        self.client = ActionClient(rig.node, ExecuteSubgoal, "execute_subgoal")
        assert self.client.wait_for_server(timeout_sec=30.0)

    def _carry_out(self, work: Work) -> tuple[bool, str]:
        self.moving.put(work.subgoal.instruction)
        while True:
            work.check()
            if not self.arrived.empty():
                return self.arrived.get()
            time.sleep(0.005)

    def send(self, subgoal: Subgoal):
        future = self.rig.spun(self.client.send_goal_async, ExecuteSubgoal.Goal(subgoal=subgoal))
        until(future.done, "the answer to a goal")
        return future.result()

    def result(self, handle) -> tuple[int, ExecuteSubgoal.Result]:
        future = self.rig.spun(handle.get_result_async)
        until(future.done, "the action's result")
        return future.result().status, future.result().result


@pytest.fixture(scope="module")
def robot():
    with running_rig() as rig:
        rig.start_camera()
        rig.start_node("tests.ros.scripted", subgoal_validity=60.0)
        yield Robot(rig)


def offered(robot: Robot, instruction: str, **fields):
    """A goal of the planner and the first subgoal that it offers, with all that follow."""
    heard = robot.rig.listen_active()
    run = robot.rig.goal(instruction, closed_loop=True, **fields)
    return run, heard, approved(heard, run)


def approved(heard, run) -> Subgoal:
    return next_in(heard, lambda s: s.plan_id == run.plan_id and s.state == Subgoal.STATE_APPROVED)


def test_a_good_one_is_carried_out_reported_and_planning_goes_on(robot: Robot):
    run, heard, first = offered(robot, "twice")
    for expected in range(2):
        subgoal = first if expected == 0 else approved(heard, run)
        assert subgoal.index == expected
        handle = robot.send(subgoal)
        assert robot.moving.get(timeout=30.0) == subgoal.instruction
        robot.arrived.put((True, ""))
        assert robot.result(handle) == (OK, RESULT(error_code=RESULT.NONE))
    status, result = run.result()
    assert status == OK
    assert [s.state for s in result.plan.subgoals] == [Subgoal.STATE_SUCCEEDED] * 2


def test_a_failure_is_told_to_both(robot: Robot):
    run, heard, subgoal = offered(robot, "fail")
    handle = robot.send(subgoal)
    robot.moving.get(timeout=30.0)
    robot.arrived.put((False, "it slipped"))
    status, result = robot.result(handle)
    assert (status, result.error_code, result.error_msg) == (ABORTED, RESULT.FAILED, "it slipped")
    failed = next_in(heard, lambda s: s.plan_id == run.plan_id and s.state == Subgoal.STATE_FAILED)
    assert failed.outcome_detail == "it slipped"
    run.cancel()
    run.result()


def test_stale_and_expired_ones_move_nothing(robot: Robot):
    run, _, subgoal = offered(robot, "refuse")
    subgoal.epoch -= 1
    status, result = robot.result(robot.send(subgoal))
    assert (status, result.error_code) == (ABORTED, RESULT.STALE_EPOCH)
    subgoal.epoch += 1
    subgoal.valid_until.sec -= 3600
    status, result = robot.result(robot.send(subgoal))
    assert (status, result.error_code) == (ABORTED, RESULT.EXPIRED)
    run.cancel()
    run.result()
    assert robot.moving.empty()


def test_one_that_the_planner_does_not_know_moves_nothing(robot: Robot):
    _, _, subgoal = known = offered(robot, "know")
    subgoal.plan_id.uuid[0] ^= 255
    status, result = robot.result(robot.send(subgoal))
    assert (status, result.error_code) == (ABORTED, RESULT.UNKNOWN)
    assert "no plan with that id" in result.error_msg
    known[0].cancel()
    known[0].result()
    assert robot.moving.empty()


def test_the_actions_client_cancels_and_the_planner_hears(robot: Robot):
    run, heard, subgoal = offered(robot, "cancel")
    handle = robot.send(subgoal)
    robot.moving.get(timeout=30.0)
    until(robot.rig.spun(handle.cancel_goal_async).done, "the answer to a cancellation")
    status, _ = robot.result(handle)
    assert status == CANCELED
    failed = next_in(heard, lambda s: s.plan_id == run.plan_id and s.state == Subgoal.STATE_FAILED)
    assert "cancelled" in failed.outcome_detail
    run.cancel()
    run.result()


def test_a_hold_stops_the_body_and_lasts(robot: Robot):
    run, _, subgoal = offered(robot, "hold")
    handle = robot.send(subgoal)
    robot.moving.get(timeout=30.0)
    assert robot.rig.call(SetBool, "planner/hold", data=True).success
    status, result = robot.result(handle)
    assert status == ABORTED
    # the epoch that takes the subgoal back and the hold itself come on two topics
    assert result.error_code in (RESULT.HELD, RESULT.STALE_EPOCH)
    assert run.result()[1].error_code == PlanTask.Result.HELD
    robot.rig.status(lambda status: status.hold)
    later = Subgoal(epoch=subgoal.epoch + 1000, state=Subgoal.STATE_APPROVED)
    held = robot.result(robot.send(later))[1]
    assert held.error_code == RESULT.HELD
    assert robot.rig.call(Trigger, "planner/rearm").success
    assert robot.moving.empty()


def test_a_person_carries_out_what_the_topic_offers(robot: Robot):
    robot.rig._start("-m", "emu_planner.executor.by_hand")

    def done() -> bool:
        return robot.rig.call(SetBool, "execute_by_hand/done", data=True).success

    run = robot.rig.goal("twice", closed_loop=True)
    until(lambda: run._future.done() or done(), "the first step")
    until(lambda: run._future.done() or done(), "the second step")
    status, result = run.result()
    assert status == OK
    assert [s.state for s in result.plan.subgoals] == [Subgoal.STATE_SUCCEEDED] * 2
