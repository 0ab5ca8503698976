"""ROS messages to plan nouns and back: pure functions and tables. Knows no node, topic or clock."""

import array
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from builtin_interfaces.msg import Duration, Time
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe as KeyframeMsg
from emu_planner_msgs.msg import Plan, PlanProgress, StepProgress, Subgoal
from emu_planner_msgs.srv import ReportOutcome, ReviewSubgoal
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from unique_identifier_msgs.msg import UUID

from emu_planner.goal.states import (
    Decision,
    Ending,
    Feedback,
    GoalRequest,
    Look,
    Phase,
    PlannedStep,
    PlanView,
    Result,
    Review,
    StepState,
)
from emu_planner.plan import (
    ErrorCode,
    Frame,
    Generation,
    Keyframe,
    Outcome,
    PlanError,
    Report,
    Step,
    Task,
    Verdict,
)
from emu_planner.ros.params import PlannerParams

# encoding: bytes a pixel, and where red, green and blue are among them
_RGB, _BGR, _GREY = slice(0, 3), slice(2, None, -1), [0, 0, 0]
_LAYOUTS: dict[str, tuple[int, slice | list[int]]] = {
    "rgb8": (3, _RGB),
    "bgr8": (3, _BGR),
    "rgba8": (4, _RGB),
    "bgra8": (4, _BGR),
    "mono8": (1, _GREY),
    "8UC3": (3, _BGR),
    "8UC1": (1, _GREY),
}
# most pixels of a compressed picture
_MOST_PIXELS = 4096 * 4096

REVIEWS = {
    PlanTask.Goal.REVIEW_NONE: Review.NONE,
    PlanTask.Goal.REVIEW_FIRST: Review.FIRST,
    PlanTask.Goal.REVIEW_EACH: Review.EACH,
}
DECISIONS = {
    ReviewSubgoal.Request.APPROVE: Decision.APPROVE,
    ReviewSubgoal.Request.EDIT: Decision.EDIT,
    ReviewSubgoal.Request.SKIP: Decision.SKIP,
    ReviewSubgoal.Request.REGENERATE: Decision.REGENERATE,
    ReviewSubgoal.Request.REJECT: Decision.REJECT,
}
OUTCOMES = {
    ReportOutcome.Request.STARTED: Outcome.STARTED,
    ReportOutcome.Request.SUCCEEDED: Outcome.SUCCEEDED,
    ReportOutcome.Request.FAILED: Outcome.FAILED,
}
PHASES = {phase: getattr(PlanProgress, f"PHASE_{phase.name}") for phase in Phase}
STEP_STATES = {state: getattr(Subgoal, f"STATE_{state.name}") for state in StepState}
VERDICTS = {verdict: getattr(StepProgress, f"VERDICT_{verdict.name}") for verdict in Verdict}
PLAN_STATES = {
    None: Plan.STATE_GENERATING,
    Ending.COMPLETE: Plan.STATE_COMPLETE,
    Ending.HELD: Plan.STATE_HELD,
    Ending.CANCELED: Plan.STATE_CANCELED,
    Ending.PREEMPTED: Plan.STATE_CANCELED,
    Ending.DEACTIVATED: Plan.STATE_CANCELED,
    Ending.REVIEW_REJECTED: Plan.STATE_CANCELED,
}
ERROR_CODES = {code: getattr(PlanTask.Result, code.name) for code in ErrorCode}
ENDING_CODES = {
    Ending.COMPLETE: PlanTask.Result.NONE,
    Ending.CANCELED: PlanTask.Result.NONE,
    Ending.PREEMPTED: PlanTask.Result.PREEMPTED,
    Ending.HELD: PlanTask.Result.HELD,
    Ending.DEACTIVATED: PlanTask.Result.GOAL_REJECTED,
    Ending.REVIEW_TIMEOUT: PlanTask.Result.REVIEW_TIMEOUT,
    Ending.REVIEW_REJECTED: PlanTask.Result.REVIEW_REJECTED,
    Ending.OUTCOME_FAILED: PlanTask.Result.OUTCOME_FAILED,
}


@dataclass(frozen=True)
class ModelName:
    """Who makes plans, as the service says; empty: it did not, or the node plans by itself."""

    name: str = ""
    # exact identity of its checkpoint
    version: str = ""


# -- pictures ---------------------------------------------------------------------------------


def image_to_frame(message: Image, camera: str) -> Frame:
    """A raw picture as rgb uint8; rows may be padded, one byte a channel has no byte order.

    Raises:
        ValueError: unknown encoding, or sizes that do not fit together.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ValueError(
            f"camera {camera!r} sends encoding {message.encoding!r}; expected one of {sorted(_LAYOUTS)}"
        )
    channels, order = layout
    height, width, step = message.height, message.width, message.step
    if not height or not width or step < width * channels:
        raise ValueError(
            f"camera {camera!r} sends {width}x{height} {message.encoding} with rows of {step} bytes; "
            f"expected at least one pixel and rows of {width * channels} bytes or more"
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size != height * step:
        raise ValueError(f"camera {camera!r} sends {data.size} bytes; expected {height} rows of {step}")
    pixels = data.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    rgb = np.ascontiguousarray(pixels[:, :, order])
    return Frame(rgb, camera, time_to_s(message.header.stamp))


def compressed_to_frame(message: CompressedImage, camera: str) -> Frame:
    """A JPEG or PNG picture as rgb uint8; ValueError when it is neither, or too large."""
    return Frame(_decode(bytes(message.data), camera), camera, time_to_s(message.header.stamp))


def frame_to_image(frame: Frame, frame_id: str = "") -> Image:
    """An rgb8 message; array.array because assigning numpy or a list copies byte by byte."""
    height, width, _ = frame.rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = s_to_time(frame.stamp_s)
    message.header.frame_id = frame_id
    message.data = array.array("B", np.ascontiguousarray(frame.rgb).tobytes())
    return message


def rgb_to_png(rgb: NDArray[np.uint8]) -> CompressedImage:
    """A lossless PNG message of rgb [H, W, 3], as image_transport names its format."""
    written, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not written:
        raise ValueError(f"a picture of shape {list(rgb.shape)} does not fit into PNG")
    return CompressedImage(format="rgb8; png compressed bgr8", data=array.array("B", data.tobytes()))


def _decode(data: bytes, camera: str) -> NDArray[np.uint8]:
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise ValueError(f"camera {camera!r} sends {len(data)} bytes that are neither JPEG nor PNG")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"camera {camera!r} sends a damaged picture: {error.err}") from error
    if bgr is None or bgr.shape[0] * bgr.shape[1] > _MOST_PIXELS:
        raise ValueError(f"camera {camera!r} sends a picture that is damaged or too large")
    return np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


# -- time and ids -----------------------------------------------------------------------------


def time_to_s(message: Time | Duration) -> float:
    """Seconds of a Time or Duration; exact to 0.3 microseconds in this century."""
    return float(message.sec + message.nanosec / 1_000_000_000)


def s_to_time(seconds: float) -> Time:
    """A Time; the round trip through time_to_s gives the same float. ValueError: out of range."""
    return Time(**_split(seconds))


def s_to_duration(seconds: float) -> Duration:
    """A Duration; longer than 68 years, infinity included, is cut there."""
    return Duration(**_split(min(seconds, 2**31 - 1)))


def _split(seconds: float) -> dict[str, int]:
    # floor first: the difference is exact, a large stamp keeps its last digits
    whole = math.floor(seconds)
    nanos = round((seconds - whole) * 1_000_000_000)
    return {"sec": whole + nanos // 1_000_000_000, "nanosec": nanos % 1_000_000_000}


def id_to_msg(plan_id: bytes) -> UUID:
    """A plan's 16 bytes as a message."""
    return UUID(uuid=list(plan_id))


def id_of(message: UUID) -> bytes:
    """The 16 bytes of a plan's id."""
    return bytes(message.uuid)


# -- goal, plan, progress ---------------------------------------------------------------------


def goal_to_request(goal: PlanTask.Goal, plan_id: bytes, params: PlannerParams) -> GoalRequest:
    """What a goal asks for, with the node's parameters where it leaves the choice.

    Raises:
        PlanError: INVALID_REQUEST; says which field is wrong and what is expected.
    """
    known = tuple(camera.name for camera in params.cameras)
    unknown = [name for name in goal.cameras if name not in known]
    if unknown or len(set(goal.cameras)) != len(goal.cameras):
        raise _invalid(f"cameras is {list(goal.cameras)}; expected different ones of {list(known)}")
    if goal.review_mode not in REVIEWS:
        raise _invalid(f"review_mode is {goal.review_mode}; expected 0 NONE, 1 FIRST or 2 EACH")
    time_limit_s = time_to_s(goal.time_limit)
    if time_limit_s < 0:
        raise _invalid(f"time_limit is {time_limit_s:g} s; expected 0 (the node's limit) or more")
    generation = Generation(
        max_subgoals=goal.max_subgoals or params.max_subgoals,
        keyframes=params.keyframes,
        seed=goal.seed or None,
        first_subgoal_timeout_s=params.first_subgoal_timeout,
        subgoal_timeout_s=params.subgoal_timeout,
    )
    return GoalRequest(
        plan_id,
        Task(goal.instruction, generation),
        REVIEWS[goal.review_mode],
        goal.closed_loop,
        time_limit_s or params.time_limit,
        tuple(goal.cameras) or known,
    )


def subgoal_to_msg(plan: PlanView, made: PlannedStep, frame_ids: Mapping[str, str]) -> Subgoal:
    """One step; `frame_ids` names each camera's optical frame."""
    message = Subgoal(
        plan_id=id_to_msg(plan.request.plan_id),
        epoch=made.epoch,
        index=made.step.index,
        instruction=made.step.subgoal,
        original_instruction=made.original,
        state=STEP_STATES[made.state],
        has_keyframe=made.step.keyframe is not None,
        generated_at=s_to_time(made.generated_at_s),
        valid_until=s_to_time(made.valid_until_s),
        confidence=math.nan if made.step.confidence is None else made.step.confidence,
        outcome_detail=made.detail,
    )
    message.header.stamp = s_to_time(made.stamp_s)
    if made.step.keyframe is not None:
        message.camera = made.step.keyframe.views[0]
        message.header.frame_id = frame_ids.get(message.camera, "")
    return message


def plan_to_msg(plan: PlanView, frame_ids: Mapping[str, str], model: ModelName) -> Plan:
    """The whole plan, without pictures; one that has not begun was made by no model."""
    made_by = model if plan.seed is not None else ModelName()
    message = Plan(
        plan_id=id_to_msg(plan.request.plan_id),
        epoch=plan.epoch,
        instruction=plan.request.task.instruction,
        state=PLAN_STATES.get(plan.ending, Plan.STATE_FAILED),
        finish_reason=plan.finish,
        subgoals=[subgoal_to_msg(plan, made, frame_ids) for made in plan.steps],
        model=made_by.name,
        model_version=made_by.version,
        seed=plan.seed or 0,
    )
    message.header.stamp = s_to_time(plan.stamp_s)
    return message


def keyframe_to_msg(
    plan: PlanView, made: PlannedStep, infos: Mapping[str, CameraInfo], frame_ids: Mapping[str, str]
) -> KeyframeMsg:
    """The picture of a step that has one; ValueError otherwise."""
    if made.step.keyframe is None:
        raise ValueError(f"step {made.step.index} has no keyframe")
    keyframe = made.step.keyframe
    message = KeyframeMsg(
        plan_id=id_to_msg(plan.request.plan_id),
        epoch=made.epoch,
        index=made.step.index,
        image=rgb_to_png(keyframe.rgb),
        views=list(keyframe.views),
    )
    message.image.header.stamp = s_to_time(made.stamp_s)
    message.image.header.frame_id = frame_ids.get(keyframe.views[0], "")
    info = infos.get(keyframe.views[0])
    height, width = keyframe.rgb.shape[0], keyframe.rgb.shape[1] // len(keyframe.views)
    message.camera_info = CameraInfo(height=height, width=width)
    if info is not None:
        message.camera_info = scale_info(info, width, height)
    message.camera_info.header = message.image.header
    return message


def scale_info(info: CameraInfo, width: int, height: int) -> CameraInfo:
    """A camera's model for its picture resized to width x height px; K zeroed when unknown.

    A resize by s moves pixel centres: u' = s (u + 1/2) - 1/2, so focal lengths scale by s and
    principal points follow the centres. Distortion coefficients are free of size.
    """
    scaled = CameraInfo(height=height, width=width)
    if not info.width or not info.height or info.k[0] == 0.0:
        return scaled
    sx, sy = width / info.width, height / info.height
    resize = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    scaled.distortion_model, scaled.d, scaled.r = info.distortion_model, info.d, info.r
    scaled.k = (resize @ np.reshape(info.k, (3, 3))).ravel()
    scaled.p = (resize @ np.reshape(info.p, (3, 4))).ravel()
    return scaled


def progress_to_msg(plan: PlanView, feedback: Feedback) -> PlanProgress:
    """What the goal does now, as the topic's message; its header is the publisher's to fill."""
    return PlanProgress(
        plan_id=id_to_msg(plan.request.plan_id),
        phase=PHASES[feedback.phase],
        epoch=feedback.epoch,
        current_index=feedback.index,
        partial_text=feedback.text,
        keyframe_progress=feedback.keyframe_share,
        queue_position=feedback.queue_position,
        elapsed=s_to_duration(feedback.elapsed_s),
    )


def progress_to_feedback(message: PlanProgress) -> PlanTask.Feedback:
    """The action's twin of the topic's message."""
    names = PlanTask.Feedback.get_fields_and_field_types()
    return PlanTask.Feedback(**{name: getattr(message, name) for name in names})


def look_to_msg(plan: PlanView, made: PlannedStep, look: Look) -> StepProgress:
    """What the cameras say about the step that is carried out."""
    message = StepProgress(
        plan_id=id_to_msg(plan.request.plan_id),
        epoch=made.epoch,
        index=made.step.index,
        verdict=VERDICTS[look.verdict],
        score=look.score,
        strange=look.strange,
        drifting_looks=look.drifting,
        reason=look.reason,
    )
    message.header.stamp = s_to_time(look.stamp_s)
    return message


def result_to_msg(result: Result, frame_ids: Mapping[str, str], model: ModelName) -> PlanTask.Result:
    """What the goal came to."""
    code = ENDING_CODES.get(result.ending, PlanTask.Result.UNKNOWN)
    if result.error is not None:
        code = ERROR_CODES[result.error]
    return PlanTask.Result(
        plan=plan_to_msg(result.plan, frame_ids, model),
        error_code=code,
        error_msg=result.message,
        total_time=s_to_duration(result.seconds),
    )


def result_to_report(result: PlanTask.Result, keyframes: Iterable[KeyframeMsg]) -> Report:
    """A client's way back: the Report of an open-loop goal, from its result and `~/keyframes`.

    Confidence comes back as the nearest 32-bit float, which is what a Subgoal message holds.
    """
    pictures = {(id_of(k.plan_id), k.epoch, k.index): k for k in keyframes}
    steps = []
    for subgoal in result.plan.subgoals:
        confidence = None if math.isnan(subgoal.confidence) else subgoal.confidence
        step = Step(subgoal.index, subgoal.instruction, None, confidence)
        if subgoal.has_keyframe:
            picture = pictures[id_of(subgoal.plan_id), subgoal.epoch, subgoal.index]
            rgb = _decode(bytes(picture.image.data), "keyframe")
            step = replace(step, keyframe=Keyframe(rgb, tuple(picture.views)))
        steps.append(step)
    codes = {number: code for code, number in ERROR_CODES.items()}
    error = codes.get(result.error_code)
    return Report(
        result.plan.instruction,
        tuple(steps),
        result.plan.finish_reason,
        result.plan.seed,
        error_code=error.value if error else "",
        error_message=result.error_msg,
    )


def _invalid(message: str) -> PlanError:
    return PlanError(ErrorCode.INVALID_REQUEST, message)
