"""The rules of an executor, message by message."""

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import ExecuteSubgoal
from emu_planner_msgs.msg import Subgoal

from emu_planner.executor.rules import SubgoalRules

pytestmark = pytest.mark.ros
RESULT = ExecuteSubgoal.Result
NOW_S = 100.0


def subgoal(epoch: int, index: int = 0, plan: int = 1, state: int = Subgoal.STATE_APPROVED, until_s: int = 0):
    message = Subgoal(epoch=epoch, index=index, state=state)
    message.plan_id.uuid[0] = plan
    message.valid_until.sec = until_s
    return message


def code(rules: SubgoalRules, message: Subgoal) -> int:
    refusal = rules.judge(message, NOW_S)
    return RESULT.NONE if refusal is None else refusal.code


def test_each_command_is_taken_once():
    rules = SubgoalRules()
    assert code(rules, subgoal(5)) == RESULT.NONE
    assert code(rules, subgoal(5)) == RESULT.UNKNOWN
    assert code(rules, subgoal(5, index=1, until_s=101)) == RESULT.NONE


def test_lower_epochs_of_any_plan_are_refused_and_withdrawals_count():
    rules = SubgoalRules()
    rules.see(subgoal(9, state=Subgoal.STATE_EXPIRED))
    assert code(rules, subgoal(8, plan=3)) == RESULT.STALE_EPOCH
    assert code(rules, subgoal(9)) == RESULT.NONE


def test_expired_and_unapproved_ones_are_refused():
    rules = SubgoalRules()
    assert code(rules, subgoal(1, until_s=99)) == RESULT.EXPIRED
    assert code(rules, subgoal(1, until_s=101)) == RESULT.NONE
    assert code(rules, subgoal(2, state=Subgoal.STATE_PENDING_REVIEW)) == RESULT.UNKNOWN


def test_only_the_planner_says_which_epoch_it_is():
    rules = SubgoalRules()
    rules.see(subgoal(3))
    # from before the planner began anew, sent again by somebody
    assert code(rules, subgoal(40, until_s=50)) == RESULT.EXPIRED
    assert code(rules, subgoal(4)) == RESULT.NONE


def test_a_hold_and_a_later_epoch_interrupt():
    rules = SubgoalRules()
    assert code(rules, subgoal(3)) == RESULT.NONE
    assert rules.interruption(subgoal(3)) is None
    rules.see(subgoal(4, state=Subgoal.STATE_EXPIRED))
    assert rules.interruption(subgoal(3)).code == RESULT.STALE_EPOCH
    rules.hold_reason = "a person"
    assert rules.interruption(subgoal(4)).code == RESULT.HELD
    assert code(rules, subgoal(5)) == RESULT.HELD


def test_a_new_planner_counts_from_the_beginning():
    rules = SubgoalRules()
    assert code(rules, subgoal(7)) == RESULT.NONE
    rules.forget()
    assert code(rules, subgoal(1, plan=4)) == RESULT.NONE
