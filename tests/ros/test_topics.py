"""What the node's topics promise: latched plans, commands that expire, pictures however they come."""

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Plan, PlannerStatus, PlanProgress, Subgoal
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from emu_planner.ros.convert import compressed_to_frame
from tests.ros.rig import LATCHED, OK, Rig, next_in, running_rig, until
from tests.ros.scripted import numbered

pytestmark = pytest.mark.ros
NEVER_EXPIRES = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
LOSSY = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
VALIDITY_S = 1.0


@pytest.fixture(scope="module")
def rig():
    with running_rig() as rig:
        rig.start_camera()
        rig.start_node(
            "tests.ros.scripted",
            cameras=["cam", "lens"],
            subgoal_validity=VALIDITY_S,
            **{"camera.lens.transport": "compressed", "camera.lens.topic": "wide/image_rect"},
        )
        yield rig


def publish_lens(rig: Rig, number: int) -> None:
    frame = numbered(number, "lens", time.time())
    rig.publish(frame, compressed=True, topic="wide/image_rect")


def plan_with_lens(rig: Rig, number: int) -> tuple[int, PlanTask.Result]:
    run = rig.goal("look")
    until(lambda: publish_lens(rig, number) or run._future.done(), "a plan from both cameras")
    return run.result()


def test_an_observation_needs_all_its_cameras_and_transports(rig: Rig):
    status, result = plan_with_lens(rig, 123456)
    assert status == OK
    assert result.plan.subgoals[0].instruction.split()[1] == "123456"


def test_a_goal_may_name_some_of_the_cameras(rig: Rig):
    _, result = rig.goal("look", cameras=["cam"]).result()
    assert len(result.plan.subgoals[0].instruction.split()) == 1


def test_a_damaged_picture_is_dropped_and_the_next_one_used(rig: Rig):
    rig._publisher(CompressedImage, "wide/image_rect/compressed").publish(
        CompressedImage(format="jpeg", data=b"no picture")
    )
    rig._publisher(Image, "cam/image_raw").publish(Image(height=2, width=2, encoding="bayer", step=2))
    rig._publisher(Image, "cam/image_raw").publish(Image(height=2, width=2, encoding="rgb8", step=6))

    def sees_the_next() -> bool:
        _, result = plan_with_lens(rig, 77)
        return result.plan.subgoals[0].instruction.split()[1] == "77"

    until(sees_the_next, "a plan from the picture after the damaged one")


def test_a_late_joiner_gets_the_plan_and_the_status(rig: Rig):
    run = rig.goal("look", cameras=["cam"])
    run.result()
    plan = rig.listen(Plan, "planner/plan", LATCHED).get(timeout=10.0)
    assert (plan.plan_id, plan.state) == (run.plan_id, Plan.STATE_COMPLETE)
    status = rig.listen(PlannerStatus, "planner/status", LATCHED).get(timeout=10.0)
    assert status.link == PlannerStatus.LINK_READY


def test_a_late_joiner_gets_no_expired_command(rig: Rig):
    heard = rig.listen_active()
    run = rig.goal("offer", cameras=["cam"], closed_loop=True, max_subgoals=1)
    next_in(heard, lambda s: s.plan_id == run.plan_id and s.state == Subgoal.STATE_APPROVED)
    soon = rig.listen(Subgoal, "planner/active_subgoal", NEVER_EXPIRES)
    assert soon.get(timeout=10.0).plan_id == run.plan_id, "a joiner in time gets the command"
    run.cancel()
    run.result()
    time.sleep(VALIDITY_S + 0.5)
    late = rig.listen(Subgoal, "planner/active_subgoal", NEVER_EXPIRES)
    # what is latched for ever arrives here, so an expired command would have had the time too
    assert rig.listen(Plan, "planner/plan", LATCHED).get(timeout=10.0)
    time.sleep(0.5)
    assert late.empty()


def test_a_step_that_nobody_starts_expires_with_a_higher_epoch_and_is_planned_again(rig: Rig):
    heard = rig.listen_active()
    run = rig.goal("offer", cameras=["cam"], closed_loop=True)
    mine = lambda state: next_in(heard, lambda s: s.plan_id == run.plan_id and s.state == state)  # noqa: E731
    first = mine(Subgoal.STATE_APPROVED)
    expired = mine(Subgoal.STATE_EXPIRED)
    again = mine(Subgoal.STATE_APPROVED)
    assert first.index == expired.index == again.index == 0
    assert first.epoch < expired.epoch < again.epoch
    _, result = run.result()
    assert result.error_code == PlanTask.Result.OUTCOME_FAILED


def test_the_newest_keyframe_is_latched_with_its_cameras_scaled_model(rig: Rig):
    info = CameraInfo(width=32, height=32)
    info.k = [40.0, 0.0, 15.5, 0.0, 40.0, 15.5, 0.0, 0.0, 1.0]

    def keyframe_camera() -> CameraInfo | None:
        rig._publisher(CameraInfo, "cam/camera_info").publish(info)
        rig.goal("imagine", cameras=["cam"]).result()
        newest = rig.listen(CameraInfo, "planner/keyframe/camera_info", LATCHED).get(timeout=10.0)
        return newest if newest.k[0] else None

    camera = until(keyframe_camera, "a keyframe with its camera's model")
    assert (camera.width, list(camera.k)[:3]) == (16, [20.0, 0.0, 7.5])
    image = rig.listen(CompressedImage, "planner/keyframe/compressed", LATCHED).get(timeout=10.0)
    assert image.header.frame_id == camera.header.frame_id == "cam_optical"
    assert compressed_to_frame(image, "keyframe").rgb.shape == (16, 16, 3)


def test_progress_is_the_feedbacks_twin(rig: Rig):
    heard = rig.listen(PlanProgress, "planner/progress", LOSSY)
    time.sleep(0.5)
    run = rig.goal("count slowly", cameras=["cam"], max_subgoals=1)
    progress = next_in(heard, lambda p: p.phase == PlanProgress.PHASE_GENERATING_KEYFRAME)
    run.result()
    assert progress.plan_id == run.plan_id
    assert 0.0 < progress.keyframe_progress <= 1.0
    assert any(
        (f.phase, f.keyframe_progress, f.elapsed)
        == (progress.phase, progress.keyframe_progress, progress.elapsed)
        for f in run.feedback
    )


def test_diagnostics_name_the_link_the_hold_and_each_camera(rig: Rig):
    rig.goal("look", cameras=["cam"]).result()
    heard = rig.listen(DiagnosticArray, "/diagnostics", LOSSY)

    def levels() -> dict[str, bytes]:
        return {status.name: status.level for status in heard.get(timeout=10.0).status}

    # the lens is published by hand, and long ago
    wanted = {
        "planner: link": DiagnosticStatus.OK,
        "planner: hold": DiagnosticStatus.OK,
        "planner: step": DiagnosticStatus.OK,
        "planner: camera cam": DiagnosticStatus.OK,
        "planner: camera lens": DiagnosticStatus.ERROR,
    }
    until(lambda: levels() == wanted, "diagnostics of a rig with one silent camera")


def test_a_covered_lens_is_no_observation(rig: Rig):
    def is_dark() -> bool:
        black = numbered(0, "lens", time.time())
        rig.publish(replace(black, rgb=np.zeros_like(black.rgb)), compressed=True, topic="wide/image_rect")
        _, result = rig.goal("look", cameras=["lens"]).result()
        assert result.error_code == PlanTask.Result.STALE_OBSERVATION
        return "lens: dark" in result.error_msg

    until(is_dark, "a goal that is refused because the lens is covered")
