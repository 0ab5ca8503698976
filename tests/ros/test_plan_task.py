"""The action end to end: a node process, a service process, pictures over DDS."""

import socket
import threading
import time

import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Plan, Subgoal
from emu_planner_msgs.srv import GetPlan, ReportOutcome, ReviewSubgoal
from std_srvs.srv import SetBool, Trigger

from tests.ros.rig import ABORTED, CANCELED, OK, Rig, free_port, next_in, running_rig, until

pytestmark = pytest.mark.ros
Result, Feedback = PlanTask.Result, PlanTask.Feedback
STARTED, SUCCEEDED, FAILED = (
    ReportOutcome.Request.STARTED,
    ReportOutcome.Request.SUCCEEDED,
    ReportOutcome.Request.FAILED,
)


@pytest.fixture(scope="module")
def rig():
    with running_rig() as rig:
        port = free_port()
        rig.start_service(port)
        rig.start_camera()
        rig.start_node(server=f"127.0.0.1:{port}", subgoal_validity=5.0)
        yield rig


def approved(message: Subgoal) -> bool:
    return message.state == Subgoal.STATE_APPROVED


def test_open_loop_goal_streams_every_step(rig: Rig):
    keyframes = rig.listen_keyframes()
    run = rig.goal("stack the blocks", seed=7)
    status, result = run.result()
    assert (status, result.error_code, result.error_msg) == (OK, Result.NONE, "")
    plan = result.plan
    assert (plan.state, plan.finish_reason, plan.seed) == (Plan.STATE_COMPLETE, "stop", 7)
    assert [s.index for s in plan.subgoals] == [0, 1, 2]
    assert all(approved(s) and s.has_keyframe and s.camera == "cam" for s in plan.subgoals)
    assert {s.header.frame_id for s in plan.subgoals} == {"cam_optical"}
    assert [keyframes.get(timeout=10.0).index for _ in plan.subgoals] == [0, 1, 2]
    assert run.saw(Feedback.PHASE_GENERATING_TEXT)
    assert run.saw(Feedback.PHASE_GENERATING_KEYFRAME)
    answer = rig.call(GetPlan, "planner/get_plan", include_keyframes=True)
    assert answer.success
    assert answer.plan == plan
    assert [tuple(k.views) for k in answer.keyframes] == [("cam",)] * 3


def test_closed_loop_waits_for_outcomes_and_plans_again(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("tidy up twice", closed_loop=True)
    epochs = []
    for index, outcome in enumerate((SUCCEEDED, FAILED, SUCCEEDED)):
        subgoal = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
        assert subgoal.index == index
        assert subgoal.valid_until.sec >= subgoal.generated_at.sec + 4
        epochs.append(subgoal.epoch)
        assert rig.report(subgoal, STARTED).success
        assert rig.report(subgoal, outcome, "so it went").success
    status, result = run.result()
    assert (status, result.plan.finish_reason) == (OK, "stop")
    states = [s.state for s in result.plan.subgoals]
    assert states == [Subgoal.STATE_SUCCEEDED, Subgoal.STATE_FAILED, Subgoal.STATE_SUCCEEDED]
    assert result.plan.subgoals[1].outcome_detail == "so it went"
    assert epochs == sorted(set(epochs))
    assert run.saw(Feedback.PHASE_WAITING_OUTCOME)


def test_closed_loop_ends_at_its_limit_of_subgoals(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("go on", closed_loop=True, max_subgoals=1)
    subgoal = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
    assert rig.report(subgoal, SUCCEEDED).success
    status, result = run.result()
    assert (status, result.plan.finish_reason, len(result.plan.subgoals)) == (OK, "length", 1)


def test_three_failures_in_a_row_end_the_goal(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("try", closed_loop=True)
    for _ in range(3):
        subgoal = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
        assert rig.report(subgoal, FAILED).success
    status, result = run.result()
    assert (status, result.error_code) == (ABORTED, Result.OUTCOME_FAILED)


def test_the_next_step_is_planned_from_pictures_after_the_outcome(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("look", closed_loop=True, max_subgoals=3)
    before = 0
    for _ in range(3):
        subgoal = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
        assert int(subgoal.instruction) > before
        time.sleep(0.3)
        before = rig.frame_number
        assert rig.report(subgoal, SUCCEEDED).success
    run.result()


def test_only_the_newest_picture_is_planned_from(rig: Rig):
    first = rig.frame_number
    until(lambda: rig.frame_number > first + 60, "a second of pictures")
    sent_at = rig.frame_number
    _, result = rig.goal("look").result()
    # 10 of 60 Hz: far more than the way takes, far less than any queue of them would hold back
    assert int(result.plan.subgoals[0].instruction) > sent_at - 10
    status = rig.status(lambda s: s.frames_superseded > 30)
    assert status.frames_sent < status.frames_received


def test_wrong_reports_are_refused(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("report", closed_loop=True)
    subgoal = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
    assert "epoch" in rig.report(subgoal, STARTED, epoch=subgoal.epoch - 1).error_msg
    assert "no step 9" in rig.report(subgoal, STARTED, index=9).error_msg
    assert "outcome is 77" in rig.report(subgoal, 77).error_msg
    other = type(subgoal.plan_id)()
    assert "no plan" in rig.report(subgoal, STARTED, plan_id=other).error_msg
    assert rig.report(subgoal, STARTED).success
    assert not rig.report(subgoal, STARTED).success
    run.cancel()
    assert run.result()[0] == CANCELED
    assert "ended" in rig.report(subgoal, SUCCEEDED).error_msg


def test_review_edit_skip_and_stale_epoch(rig: Rig):
    plans = rig.listen(Plan, "planner/plan", 10)
    active = rig.listen_active()
    each = PlanTask.Goal.REVIEW_EACH
    run = rig.goal("ask me", closed_loop=True, review_mode=each, max_subgoals=2)

    def pending(index):
        plan = next_in(
            plans,
            lambda p: (
                p.plan_id == run.plan_id
                and any(s.index == index and s.state == Subgoal.STATE_PENDING_REVIEW for s in p.subgoals)
            ),
        )
        return plan.subgoals[index]

    request, answer = ReviewSubgoal.Request, ReviewSubgoal.Response
    first = pending(0)
    assert rig.review(first, request.APPROVE, epoch=first.epoch - 1).error_code == answer.STALE_EPOCH
    assert rig.review(first, request.EDIT).error_code == answer.INVALID
    assert rig.review(first, 99).error_code == answer.INVALID
    assert rig.review(first, request.EDIT, "push it gently").success
    offered = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
    assert (offered.instruction, offered.original_instruction) == (
        "push it gently",
        first.instruction,
    )
    assert offered.epoch > first.epoch
    assert rig.review(offered, request.APPROVE).error_code == answer.WRONG_STATE
    assert rig.report(offered, SUCCEEDED).success
    second = pending(1)
    assert rig.review(second, request.SKIP).success
    status, result = run.result()
    assert status == OK
    assert result.plan.subgoals[1].state == Subgoal.STATE_SKIPPED
    assert run.saw(Feedback.PHASE_WAITING_REVIEW)


def test_a_rejected_step_ends_the_plan(rig: Rig):
    run = rig.goal("reject", review_mode=PlanTask.Goal.REVIEW_FIRST)
    until(lambda: run.saw(Feedback.PHASE_WAITING_REVIEW), "the review")
    subgoal = rig.call(GetPlan, "planner/get_plan").plan.subgoals[0]
    assert rig.review(subgoal, ReviewSubgoal.Request.REJECT, reviewer="Ada").success
    status, result = run.result()
    assert (status, result.error_code) == (ABORTED, Result.REVIEW_REJECTED)
    assert "Ada" in result.error_msg


@pytest.mark.parametrize(
    ("phase", "fields"),
    [
        (Feedback.PHASE_GENERATING_TEXT, {}),
        (Feedback.PHASE_WAITING_REVIEW, {"review_mode": PlanTask.Goal.REVIEW_EACH}),
        (Feedback.PHASE_WAITING_OUTCOME, {"closed_loop": True}),
    ],
)
def test_cancel_in_each_phase(rig: Rig, phase: int, fields: dict):
    slow = " slowly" if phase == Feedback.PHASE_GENERATING_TEXT else ""
    run = rig.goal(f"cancel me{slow}", **fields)
    until(lambda: run.saw(phase), "the phase")
    assert run.cancel().goals_canceling
    status, result = run.result()
    assert (status, result.error_code) == (CANCELED, Result.NONE)
    assert (result.plan.state, result.plan.finish_reason) == (Plan.STATE_CANCELED, "interrupted")


def test_a_cancelled_step_on_offer_is_taken_back(rig: Rig):
    active = rig.listen_active()
    run = rig.goal("take back", closed_loop=True)
    offered = next_in(active, lambda s: approved(s) and s.plan_id == run.plan_id)
    run.cancel()
    gone = next_in(active, lambda s: s.plan_id == run.plan_id)
    assert gone.state == Subgoal.STATE_EXPIRED
    assert gone.epoch > offered.epoch


def test_a_new_goal_preempts(rig: Rig):
    first = rig.goal("count slowly")
    until(lambda: first.saw(Feedback.PHASE_GENERATING_TEXT), "the first goal's words")
    second = rig.goal("take over")
    status, result = first.result()
    assert (status, result.error_code) == (ABORTED, Result.PREEMPTED)
    assert second.result()[0] == OK


def test_hold_ends_the_goal_and_refuses_until_rearmed(rig: Rig):
    run = rig.goal("hold slowly")
    until(lambda: run.saw(Feedback.PHASE_GENERATING_TEXT), "words")
    assert rig.call(SetBool, "planner/hold", data=True).success
    status, result = run.result()
    assert (status, result.error_code) == (ABORTED, Result.HELD)
    assert result.plan.state == Plan.STATE_HELD
    assert rig.send("refused") is None
    assert not rig.call(SetBool, "planner/hold", data=False).success
    assert rig.send("refused still") is None
    assert rig.call(Trigger, "planner/rearm").success
    assert not rig.call(Trigger, "planner/rearm").success
    assert rig.goal("again").result()[0] == OK


@pytest.mark.parametrize(
    ("instruction", "fields", "words"),
    [
        ("  ", {}, "instruction is empty"),
        ("look", {"cameras": ["nowhere"]}, "nowhere"),
        ("look", {"review_mode": 9}, "review_mode is 9"),
    ],
)
def test_bad_goals_say_what_is_wrong(rig: Rig, instruction: str, fields: dict, words: str):
    status, result = rig.goal(instruction, **fields).result()
    assert (status, result.error_code) == (ABORTED, Result.INVALID_REQUEST)
    assert words in result.error_msg


def test_a_bad_goal_does_not_preempt(rig: Rig):
    first = rig.goal("count slowly", max_subgoals=1)
    rig.goal("").result()
    assert first.result()[0] == OK


def test_model_errors_keep_the_steps_made(rig: Rig):
    status, result = rig.goal("plan badly").result()
    assert (status, result.error_code) == (ABORTED, Result.INVALID_OUTPUT)
    assert (len(result.plan.subgoals), result.plan.finish_reason) == (1, "error")


def test_time_limit(rig: Rig):
    limit = PlanTask.Goal().time_limit
    limit.nanosec = 300_000_000
    status, result = rig.goal("count slowly", time_limit=limit).result()
    assert (status, result.error_code) == (ABORTED, Result.TIMEOUT)


def test_cancel_while_connecting():
    """A server that accepts the connection and never says a word."""
    with running_rig() as rig, socket.create_server(("127.0.0.1", 0)) as silent:
        rig.start_camera()
        rig.start_node(server=f"127.0.0.1:{silent.getsockname()[1]}", connect_timeout=60.0)
        run = rig.goal("connect", closed_loop=True)
        until(lambda: run.saw(Feedback.PHASE_CONNECTING), "the phase")
        threading.Event().wait(0.3)
        run.cancel()
        assert run.result()[0] == CANCELED
