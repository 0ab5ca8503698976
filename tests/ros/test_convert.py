"""Messages to nouns and back: pure functions, no ROS graph."""

import array
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("emu_planner_msgs")

from diagnostic_msgs.msg import DiagnosticStatus
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import PlannerStatus, StepProgress, Subgoal
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from emu_planner.goal.states import (
    Ending,
    GoalRequest,
    Look,
    PlannedStep,
    PlanView,
    Result,
    Review,
    StepState,
)
from emu_planner.plan import ErrorCode, Keyframe, PlanError, Step, Task, Verdict
from emu_planner.ros import convert
from emu_planner.ros.diagnostics import diagnose
from emu_planner.ros.params import CameraParams, PlannerParams

pytestmark = pytest.mark.ros
RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
PARAMS = PlannerParams((CameraParams("front", "front/image_raw"), CameraParams("side", "s/image")))


def image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    """A message of pixels [H, W, C] with rows padded by garbage."""
    height, width, channels = pixels.shape
    rows = np.full((height, width * channels + padding), 199, np.uint8)
    rows[:, : width * channels] = pixels.reshape(height, -1)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("bigendian", [0, 1])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((5, 7), 9, np.uint8)])),
    ],
)
def test_colour_encodings(encoding: str, pixels: np.ndarray, padding: int, bigendian: int):
    message = image(pixels, encoding, padding)
    message.is_bigendian = bigendian
    frame = convert.image_to_frame(message, "front")
    assert np.array_equal(frame.rgb, RGB)
    assert frame.camera == "front"


def test_grey_becomes_three_equal_channels():
    frame = convert.image_to_frame(image(RGB[..., :1], "mono8", 1), "front")
    assert all(np.array_equal(frame.rgb[..., c], RGB[..., 0]) for c in range(3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "bayer_rggb8"}, "bayer_rggb8"),
        ({"step": 20}, "rows of 20"),
        ({"height": 6}, "expected 6 rows"),
        ({"height": 0}, "at least one pixel"),
        ({"data": array.array("B", b"12")}, "2 bytes"),
    ],
)
def test_wrong_pictures_say_what_is_wrong(change: dict, words: str):
    message = image(RGB, "rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=words):
        convert.image_to_frame(message, "front")


def test_a_frame_survives_the_way_there_and_back():
    frame = convert.image_to_frame(image(RGB, "rgb8"), "front")
    again = convert.image_to_frame(convert.frame_to_image(frame), "front")
    assert again == frame


def test_compressed_pictures():
    message = convert.rgb_to_png(RGB)
    assert np.array_equal(convert.compressed_to_frame(message, "front").rgb, RGB)
    smooth = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    _, data = cv2.imencode(".jpg", smooth[..., ::-1])
    jpeg = convert.compressed_to_frame(CompressedImage(format="jpeg", data=data.tobytes()), "front")
    assert np.abs(jpeg.rgb.astype(int) - smooth).max() < 10


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff damaged", b"\x89PNG\r\n\x1a\n damaged"])
def test_damaged_compressed_pictures(data: bytes):
    with pytest.raises(ValueError, match="front"):
        convert.compressed_to_frame(CompressedImage(format="jpeg", data=data), "front")


@pytest.mark.parametrize("stamp_s", [0.0, 12.5, 1_763_793_000.123456789, 0.9999999999])
def test_stamps_survive_the_round_trip(stamp_s: float):
    message = convert.s_to_time(stamp_s)
    assert message.nanosec < 1_000_000_000
    assert convert.time_to_s(message) == pytest.approx(stamp_s, abs=1e-9)
    assert convert.s_to_time(convert.time_to_s(message)) == message


def test_an_endless_duration_is_cut():
    assert convert.s_to_duration(math.inf).sec == 2**31 - 1


def test_goal_fills_in_the_nodes_parameters():
    request = convert.goal_to_request(PlanTask.Goal(instruction="go"), bytes(16), PARAMS)
    assert request.task.generation.max_subgoals == PARAMS.max_subgoals
    assert request.task.generation.seed is None
    assert (request.time_limit_s, request.cameras) == (PARAMS.time_limit, ("front", "side"))
    assert (request.review, request.closed_loop) == (Review.EACH, True)
    own = PlanTask.Goal(instruction="go", max_subgoals=3, seed=2**64 - 1, cameras=["side"])
    request = convert.goal_to_request(own, bytes(16), PARAMS)
    assert (request.task.generation.max_subgoals, request.task.generation.seed) == (3, 2**64 - 1)
    assert request.cameras == ("side",)


@pytest.mark.parametrize(
    "goal",
    [
        PlanTask.Goal(instruction=" "),
        PlanTask.Goal(instruction="x" * 2001),
        PlanTask.Goal(instruction="go", review_mode=7),
        PlanTask.Goal(instruction="go", cameras=["side", "side"]),
        PlanTask.Goal(instruction="go", cameras=["back"]),
        PlanTask.Goal(instruction="go", time_limit=convert.s_to_duration(-1.0)),
    ],
)
def test_wrong_goals(goal: PlanTask.Goal):
    with pytest.raises(PlanError) as caught:
        convert.goal_to_request(goal, bytes(16), PARAMS)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def planned(**fields) -> tuple[PlanView, PlannedStep]:
    request = GoalRequest(bytes(range(16)), Task("go"), Review.NONE, True, 1.0, ("front", "side"))
    keyframe = Keyframe(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8), ("front", "side"))
    step = Step(2, "push", keyframe, 0.25)
    made = PlannedStep(step, 7, StepState.APPROVED, 12.5, 13.0, **fields)
    return PlanView(request, 7, (made,), 5, 12.5), made


def test_subgoal_and_plan_messages():
    plan, made = planned(valid_until_s=20.0, original="shove", detail="well")
    message = convert.plan_to_msg(plan, {"front": "front_optical"}, convert.ModelName("nano", "abc"))
    (subgoal,) = message.subgoals
    assert subgoal == convert.subgoal_to_msg(plan, made, {"front": "front_optical"})
    assert (subgoal.epoch, subgoal.index, subgoal.state) == (7, 2, Subgoal.STATE_APPROVED)
    assert (subgoal.instruction, subgoal.original_instruction) == ("push", "shove")
    assert (subgoal.header.frame_id, subgoal.camera, subgoal.has_keyframe) == (
        "front_optical",
        "front",
        True,
    )
    assert (subgoal.valid_until.sec, subgoal.confidence) == (20, 0.25)
    assert convert.id_of(message.plan_id) == bytes(range(16))
    assert (message.model, message.model_version) == ("nano", "abc")
    not_begun = convert.plan_to_msg(replace(plan, seed=None), {}, convert.ModelName("nano", "abc"))
    assert (not_begun.model, not_begun.model_version) == ("", "")


def test_the_keyframe_message_is_lossless_and_carries_scaled_intrinsics():
    plan, made = planned()
    info = CameraInfo(width=8, height=12)
    info.k = [100.0, 0.0, 3.5, 0.0, 100.0, 5.5, 0.0, 0.0, 1.0]
    info.p = [100.0, 0.0, 3.5, 0.0, 0.0, 100.0, 5.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    message = convert.keyframe_to_msg(plan, made, {"front": info}, {})
    assert np.array_equal(convert.compressed_to_frame(message.image, "k").rgb, made.step.keyframe.rgb)
    assert list(message.views) == ["front", "side"]
    scaled = message.camera_info
    assert (scaled.width, scaled.height) == (4, 6)
    # the middle of 8 x 12 pixels is the middle of 4 x 6
    assert list(scaled.k) == [50.0, 0.0, 1.5, 0.0, 50.0, 2.5, 0.0, 0.0, 1.0]
    assert not any(convert.keyframe_to_msg(plan, made, {}, {}).camera_info.k)


def test_every_ending_and_error_has_its_code():
    plan, _ = planned()
    codes = set()
    for error in ErrorCode:
        result = Result(Ending.FAILED, plan, 1.5, "words", error)
        message = convert.result_to_msg(result, {}, convert.ModelName())
        assert message.error_code == getattr(PlanTask.Result, error.name)
        assert (message.error_msg, message.total_time.sec) == ("words", 1)
        codes.add(message.error_code)
    assert len(codes) == len(ErrorCode)
    for ending in Ending:
        code = convert.result_to_msg(Result(ending, plan, 0.0), {}, convert.ModelName()).error_code
        expected_none = ending in (Ending.COMPLETE, Ending.CANCELED)
        assert (code == PlanTask.Result.NONE) == expected_none


def test_feedback_is_the_topics_twin():
    feedback = PlanTask.Feedback.get_fields_and_field_types()
    topic = convert.PlanProgress.get_fields_and_field_types()
    assert {name: topic[name] for name in feedback} == feedback


def test_a_look_names_its_step_and_what_it_saw():
    request = GoalRequest(bytes(range(16)), Task("do it"), Review.NONE, True, 9.0, ("front",))
    made = PlannedStep(Step(2, "push"), 7, StepState.ACTIVE, 1.5, 2.5)
    view = PlanView(request, 7, (made,), None, 1.5)
    message = convert.look_to_msg(view, made, Look(Verdict.DRIFTING, 0.25, 0.5, 3, 12.5))
    assert convert.id_of(message.plan_id) == request.plan_id
    assert (message.epoch, message.index, message.verdict) == (7, 2, StepProgress.VERDICT_DRIFTING)
    assert (message.score, message.strange, message.drifting_looks) == (0.25, 0.5, 3)
    assert convert.time_to_s(message.header.stamp) == 12.5
    blind = convert.look_to_msg(view, made, Look(Verdict.UNKNOWN, math.nan, math.nan, 0, 0.0, "no picture"))
    assert (blind.verdict, blind.reason) == (StepProgress.VERDICT_UNKNOWN, "no picture")
    assert math.isnan(blind.score)


@pytest.mark.parametrize(
    ("look", "level", "words"),
    [
        (None, DiagnosticStatus.OK, "none is watched"),
        (Look(Verdict.REACHED, 0.9, 0.0, 0, 1.0), DiagnosticStatus.OK, "reached"),
        (Look(Verdict.DRIFTING, 0.1, 0.02, 4, 1.0), DiagnosticStatus.WARN, "drifting"),
        (Look(Verdict.UNKNOWN, math.nan, math.nan, 0, 0.0, "why"), DiagnosticStatus.OK, "unknown: why"),
    ],
)
def test_diagnostics_tell_the_last_look(look: Look | None, level: bytes, words: str):
    array = diagnose("planner", "host:1", PlannerStatus(), [], 1.0, look)
    (step,) = [status for status in array.status if status.name == "planner: step"]
    assert (step.level, step.message) == (level, words)
