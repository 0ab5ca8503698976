"""plan nouns to and from messages of planner.proto. Pure functions; knows no channel and no server.

Whatever a peer can send that makes no noun is a PlanError INVALID_REQUEST whose words say what.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from google.protobuf import duration_pb2, timestamp_pb2

from emu_planner.plan import (
    Camera,
    ErrorCode,
    Event,
    FinishReason,
    Frame,
    Generation,
    Keyframe,
    KeyframeProgress,
    Observation,
    Outcome,
    PlanComplete,
    PlanError,
    PlanStarted,
    Step,
    StepComplete,
    StepOutcome,
    Task,
    TextDelta,
    Timing,
    Waiting,
)
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.images import Encoding, ImageConfig, decode_image, encode_image

NANOS = 1_000_000_000

ENCODINGS = {pb.IMAGE_ENCODING_JPEG: Encoding.JPEG, pb.IMAGE_ENCODING_PNG: Encoding.PNG}
ENCODING_NUMBERS = {encoding: number for number, encoding in ENCODINGS.items()}

OUTCOMES = {
    pb.OUTCOME_STARTED: Outcome.STARTED,
    pb.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    pb.OUTCOME_FAILED: Outcome.FAILED,
    pb.OUTCOME_SKIPPED: Outcome.SKIPPED,
}
OUTCOME_NUMBERS = {outcome: number for number, outcome in OUTCOMES.items()}

REASONS = {
    pb.FINISH_REASON_STOP: FinishReason.STOP,
    pb.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    pb.FINISH_REASON_INTERRUPTED: FinishReason.INTERRUPTED,
    pb.FINISH_REASON_TIMEOUT: FinishReason.TIMEOUT,
}
REASON_NUMBERS = {reason: number for number, reason in REASONS.items()}
# a plan that gave way to a newer one was interrupted, as far as its reader is concerned
REASONS[pb.FINISH_REASON_SUPERSEDED] = FinishReason.INTERRUPTED

FAULTS = {
    pb.FAULT_CODE_STALE_OBSERVATION: ErrorCode.STALE_OBSERVATION,
    pb.FAULT_CODE_MALFORMED_OUTPUT: ErrorCode.INVALID_OUTPUT,
    pb.FAULT_CODE_SUBGOAL_TIMEOUT: ErrorCode.TIMEOUT,
    pb.FAULT_CODE_INTERNAL: ErrorCode.INTERNAL,
}
FAULT_NUMBERS = {code: number for number, code in FAULTS.items()}
# the request is too long for the model: another request may fit
FAULTS[pb.FAULT_CODE_CONTEXT_OVERFLOW] = ErrorCode.INVALID_REQUEST

# of the largest size allowed, that one message may hold
PICTURES_AT_ONCE = 4
# of a session, and pictures of an observation
MAX_CAMERAS = 64

SERVER_STATES = {
    pb.SERVER_STATE_LOADING: "loading",
    pb.SERVER_STATE_QUEUED: "queued",
    pb.SERVER_STATE_RUNNING: "running",
    pb.SERVER_STATE_DRAINING: "draining",
}


def observation_to_proto(observation: Observation, config: ImageConfig) -> pb.Observation:
    """All frames of one moment. PlanError INVALID_REQUEST: it holds none."""
    if not observation.frames:
        raise _invalid("the observation holds no frame")
    frames = [_frame_to_proto(frame, config) for frame in observation.frames]
    with _numbers_that_fit("observation"):
        return pb.Observation(
            seq=observation.seq,
            capture_time=_timestamp_to_proto(observation.stamp_s),
            frames=frames,
        )


def observation_from_proto(
    message: pb.Observation, max_pixels: int, cameras: Sequence[str] = ()
) -> Observation:
    """Decode every frame.

    Args:
        message: what arrived.
        max_pixels: most pixels of one frame; of all frames together, PICTURES_AT_ONCE times as many.
        cameras: names that the session declared; () accepts any name.
    """
    if not message.frames:
        raise _invalid("the observation holds no frame")
    if len(message.frames) > MAX_CAMERAS:
        raise _invalid(f"the observation holds {len(message.frames)} frames; at most {MAX_CAMERAS}")
    for frame in message.frames:
        if cameras and frame.camera not in cameras:
            raise _invalid(f"camera {frame.camera!r} was not declared; have {list(cameras)}")
    _check_together(message.frames, max_pixels)
    stamp = message.capture_time
    frames = tuple(_frame_from_proto(frame, stamp, max_pixels) for frame in message.frames)
    with _values_that_fit("observation"):
        return Observation(frames, message.seq)


def task_to_open(
    task: Task, history: Sequence[StepOutcome], cameras: Sequence[Camera], session_id: str
) -> pb.OpenSession:
    """The first message of a session."""
    return pb.OpenSession(
        session_id=session_id,
        instruction=task.instruction,
        cameras=[
            pb.CameraSpec(
                name=camera.name,
                frame_id=camera.frame_id,
                width=camera.width,
                height=camera.height,
                k=camera.k,
            )
            for camera in cameras
        ],
        generation=generation_to_proto(task.generation),
        history=history_to_proto(history),
    )


def task_from_open(message: pb.OpenSession) -> tuple[Task, tuple[Camera, ...]]:
    """The task and the cameras that a session declares."""
    if len(message.cameras) > MAX_CAMERAS:
        raise _invalid(f"the session declares {len(message.cameras)} cameras; at most {MAX_CAMERAS}")
    task = Task(message.instruction, generation_from_proto(message.generation))
    with _values_that_fit("camera"):
        cameras = tuple(
            Camera(spec.name, spec.width, spec.height, spec.frame_id, tuple(spec.k))
            for spec in message.cameras
        )
    return task, cameras


def generation_to_proto(generation: Generation) -> pb.GenerationConfig:
    """Settings; what is None stays unset."""
    first, later = generation.first_subgoal_timeout_s, generation.subgoal_timeout_s
    with _numbers_that_fit("generation"):
        return pb.GenerationConfig(
            max_subgoals=generation.max_subgoals,
            keyframes=generation.keyframes,
            seed=generation.seed,
            temperature=generation.temperature,
            top_k=generation.top_k,
            top_p=generation.top_p,
            guidance_scale=generation.guidance_scale,
            first_subgoal_timeout=None if first is None else _duration_to_proto(first),
            subgoal_timeout=None if later is None else _duration_to_proto(later),
        )


def generation_from_proto(message: pb.GenerationConfig) -> Generation:
    """Settings; raises as plan.Generation does when a value makes no sense."""

    def given(name: str) -> bool:
        return bool(message.HasField(name))

    first, later = message.first_subgoal_timeout, message.subgoal_timeout
    return Generation(
        max_subgoals=message.max_subgoals,
        keyframes=message.keyframes,
        seed=message.seed if given("seed") else None,
        temperature=message.temperature if given("temperature") else None,
        top_k=message.top_k if given("top_k") else None,
        top_p=message.top_p if given("top_p") else None,
        guidance_scale=message.guidance_scale if given("guidance_scale") else None,
        first_subgoal_timeout_s=seconds(first) if given("first_subgoal_timeout") else None,
        subgoal_timeout_s=seconds(later) if given("subgoal_timeout") else None,
    )


def history_to_proto(history: Sequence[StepOutcome]) -> list[pb.PastSubgoal]:
    """Steps so far, keyframes included."""
    with _numbers_that_fit("history"):
        return [
            pb.PastSubgoal(
                index=past.step.index,
                instruction=past.step.subgoal,
                keyframe=keyframe_to_proto(past.step.keyframe, requested=False),
                outcome=OUTCOME_NUMBERS[past.outcome],
                detail=past.detail,
                confidence=past.step.confidence,
            )
            for past in history
        ]


def history_from_proto(messages: Sequence[pb.PastSubgoal], max_pixels: int) -> tuple[StepOutcome, ...]:
    """Steps so far. PlanError INVALID_REQUEST: an outcome is unset, keyframes are damaged or too large."""
    _check_together([message.keyframe.image for message in messages], max_pixels)
    return tuple(
        StepOutcome(
            Step(
                message.index,
                message.instruction,
                keyframe_from_proto(message.keyframe, max_pixels),
                message.confidence if message.HasField("confidence") else None,
            ),
            outcome_from_proto(message.outcome),
            message.detail,
        )
        for message in messages
    )


def outcome_from_proto(number: pb.Outcome) -> Outcome:
    """What became of a step. PlanError INVALID_REQUEST: unset or unknown."""
    if number not in OUTCOMES:
        raise _invalid(f"outcome {number} is not known; expected one of {sorted(OUTCOMES)}")
    return OUTCOMES[number]


def keyframe_to_proto(keyframe: Keyframe | None, *, requested: bool) -> pb.Keyframe:
    """A keyframe as PNG; None is NOT_REQUESTED, or MALFORMED when one was requested."""
    if keyframe is None:
        missing = pb.KEYFRAME_STATUS_MALFORMED if requested else pb.KEYFRAME_STATUS_NOT_REQUESTED
        return pb.Keyframe(status=missing)
    data = encode_image(keyframe.rgb, Encoding.PNG)
    height, width = keyframe.rgb.shape[:2]
    camera = keyframe.views[0] if len(keyframe.views) == 1 else ""
    return pb.Keyframe(
        status=pb.KEYFRAME_STATUS_OK,
        image=pb.Frame(camera=camera, encoding=pb.IMAGE_ENCODING_PNG, data=data, width=width, height=height),
        camera=camera,
        sha256=hashlib.sha256(data).digest(),
        views=keyframe.views,
    )


def keyframe_from_proto(message: pb.Keyframe, max_pixels: int) -> Keyframe | None:
    """A keyframe, or None when there is none."""
    if message.status != pb.KEYFRAME_STATUS_OK:
        return None
    image = message.image
    if message.sha256 and message.sha256 != hashlib.sha256(image.data).digest():
        raise _invalid("the keyframe's data does not have the declared sha256")
    rgb = decode_image(image.data, _encoding(image), image.width, image.height, max_pixels)
    with _values_that_fit("keyframe"):
        return Keyframe(rgb, tuple(message.views) or (message.camera,))


def event_to_proto(
    event: Event,
    epoch: int,
    *,
    keyframes: bool = True,
    observation_seq: int = 0,
    superseded: bool = False,
) -> pb.PlanResponse:
    """What a planner said, for the plan number `epoch` of a session.

    Args:
        event: what it said.
        epoch: which plan of the session.
        keyframes: whether keyframes were requested: one that is missing is then MALFORMED.
        observation_seq: which observation a step was planned from.
        superseded: whether an interrupted plan gave way to a newer one.
    """
    with _numbers_that_fit(type(event).__name__):
        match event:
            case Waiting(position, detail):
                state = pb.SERVER_STATE_QUEUED
                return pb.PlanResponse(
                    progress=pb.ServerProgress(state=state, detail=detail, queue_position=position)
                )
            case PlanStarted(seq, seed, stamp_s):
                started = pb.PlanStarted(epoch=epoch, observation_seq=seq, seed=seed)
                started.observation_time.CopyFrom(_timestamp_to_proto(stamp_s))
                return pb.PlanResponse(plan_started=started)
            case TextDelta(index, text):
                return pb.PlanResponse(text_delta=pb.TextDelta(epoch=epoch, index=index, text=text))
            case KeyframeProgress(index, done, total):
                return pb.PlanResponse(
                    keyframe_progress=pb.KeyframeProgress(
                        epoch=epoch, index=index, tokens_done=done, tokens_total=total
                    )
                )
            case StepComplete():
                subgoal = _step_to_proto(event, epoch, requested=keyframes, observation_seq=observation_seq)
                return pb.PlanResponse(subgoal=subgoal)
            case PlanComplete(reason, timing):
                number = pb.FINISH_REASON_SUPERSEDED if superseded else REASON_NUMBERS[reason]
                return pb.PlanResponse(
                    plan_complete=pb.PlanComplete(epoch=epoch, reason=number, timing=_timing_to_proto(timing))
                )


def event_from_proto(response: pb.PlanResponse, max_pixels: int) -> Event | None:
    """The event that a response carries; None for one that carries none, or is unknown here.

    Raises:
        PlanError: a PlanFault's, or INVALID_REQUEST when the response makes no event.
    """
    match response.WhichOneof("message"):
        case "progress":
            state = SERVER_STATES.get(response.progress.state, "waiting")
            detail = response.progress.detail
            return Waiting(response.progress.queue_position, detail or state)
        case "plan_started":
            started = response.plan_started
            stamp_s = seconds(started.observation_time)
            return PlanStarted(started.observation_seq, started.seed, stamp_s)
        case "text_delta":
            return TextDelta(response.text_delta.index, response.text_delta.text)
        case "keyframe_progress":
            progress = response.keyframe_progress
            return KeyframeProgress(progress.index, progress.tokens_done, progress.tokens_total)
        case "subgoal":
            return _step_from_proto(response.subgoal, max_pixels)
        case "plan_complete":
            complete = response.plan_complete
            if complete.reason not in REASONS:
                raise _invalid(f"finish reason {complete.reason} is not known")
            return PlanComplete(REASONS[complete.reason], _timing_from_proto(complete.timing))
        case "fault":
            raise fault_to_error(response.fault)
        case _:
            return None


def error_to_fault(error: PlanError, epoch: int) -> pb.PlanResponse:
    """A failure that leaves the session usable; only codes of FAULT_NUMBERS have a fault."""
    return pb.PlanResponse(
        fault=pb.PlanFault(
            epoch=epoch,
            code=FAULT_NUMBERS[error.code],
            message=error.message,
            retryable=error.retryable,
        )
    )


def fault_to_error(fault: pb.PlanFault) -> PlanError:
    """The PlanError that a fault stands for."""
    code = FAULTS.get(fault.code, ErrorCode.UNKNOWN)
    return PlanError(code, fault.message, retryable=fault.retryable)


def _frame_to_proto(frame: Frame, config: ImageConfig) -> pb.Frame:
    height, width = frame.rgb.shape[:2]
    return pb.Frame(
        camera=frame.camera,
        encoding=ENCODING_NUMBERS[config.encoding],
        data=encode_image(frame.rgb, config.encoding, config.jpeg_quality),
        width=width,
        height=height,
        capture_time=_timestamp_to_proto(frame.stamp_s),
    )


def _frame_from_proto(message: pb.Frame, observation_time: timestamp_pb2.Timestamp, max_pixels: int) -> Frame:
    try:
        rgb = decode_image(message.data, _encoding(message), message.width, message.height, max_pixels)
    except PlanError as error:
        raise _invalid(f"frame of camera {message.camera!r}: {error.message}") from error
    own_time = message.HasField("capture_time")
    stamp_s = seconds(message.capture_time if own_time else observation_time)
    return Frame(rgb, message.camera, stamp_s)


def _check_together(pictures: Iterable[pb.Frame], max_pixels: int) -> None:
    """A picture of one colour has few bytes: a message of many would take all memory when it is decoded.

    What is declared is looked at; decode_image refuses a picture that is not as declared.
    """
    pixels, most = sum(picture.width * picture.height for picture in pictures), PICTURES_AT_ONCE * max_pixels
    if pixels > most:
        raise _invalid(
            f"the pictures have {pixels} pixels together, more than {most}; send fewer or smaller ones"
        )


def _encoding(message: pb.Frame) -> Encoding:
    if message.encoding not in ENCODINGS:
        raise _invalid(f"image encoding {message.encoding} is not accepted; send JPEG or PNG")
    return ENCODINGS[message.encoding]


def _step_to_proto(
    event: StepComplete, epoch: int, *, requested: bool, observation_seq: int
) -> pb.SubgoalComplete:
    step = event.step
    return pb.SubgoalComplete(
        epoch=epoch,
        index=step.index,
        instruction=step.subgoal,
        keyframe=keyframe_to_proto(step.keyframe, requested=requested),
        observation_seq=observation_seq,
        confidence=step.confidence,
        timing=_timing_to_proto(event.timing),
    )


def _step_from_proto(message: pb.SubgoalComplete, max_pixels: int) -> StepComplete:
    confidence = message.confidence if message.HasField("confidence") else None
    keyframe = keyframe_from_proto(message.keyframe, max_pixels)
    step = Step(message.index, message.instruction, keyframe, confidence)
    return StepComplete(step, _timing_from_proto(message.timing))


def _timing_to_proto(timing: Timing) -> pb.Timing:
    return pb.Timing(
        queue=_duration_to_proto(timing.queue_s),
        prefill=_duration_to_proto(timing.prefill_s),
        text=_duration_to_proto(timing.text_s),
        keyframe=_duration_to_proto(timing.keyframe_s),
        decode=_duration_to_proto(timing.decode_s),
        prompt_tokens=timing.prompt_tokens,
        cached_tokens=timing.cached_tokens,
        generated_tokens=timing.generated_tokens,
    )


def _timing_from_proto(message: pb.Timing) -> Timing:
    return Timing(
        queue_s=seconds(message.queue),
        prefill_s=seconds(message.prefill),
        text_s=seconds(message.text),
        keyframe_s=seconds(message.keyframe),
        decode_s=seconds(message.decode),
        prompt_tokens=message.prompt_tokens,
        cached_tokens=message.cached_tokens,
        generated_tokens=message.generated_tokens,
    )


def _timestamp_to_proto(stamp_s: float) -> timestamp_pb2.Timestamp:
    seconds, nanos = _split(stamp_s)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)


def _duration_to_proto(duration_s: float) -> duration_pb2.Duration:
    seconds, nanos = _split(duration_s)
    return duration_pb2.Duration(seconds=seconds, nanos=nanos)


def _split(time_s: float) -> tuple[int, int]:
    # floor first: its difference is exact, and a stamp of this century survives the round trip
    whole = math.floor(time_s)
    carry, nanos = divmod(round((time_s - whole) * NANOS), NANOS)
    return whole + carry, nanos


def seconds(message: duration_pb2.Duration | timestamp_pb2.Timestamp) -> float:
    """A length or a moment, in seconds."""
    # one division of whole numbers: correctly rounded, unlike a sum of two parts
    return float((message.seconds * NANOS + message.nanos) / NANOS)


def _invalid(message: str) -> PlanError:
    return PlanError(ErrorCode.INVALID_REQUEST, message)


@contextmanager
def _values_that_fit(what: str) -> Iterator[None]:
    """The nouns say ValueError to their own program; a peer's wrong values are a PlanError."""
    try:
        yield
    except ValueError as error:
        raise _invalid(f"{what}: {error}") from error


@contextmanager
def _numbers_that_fit(what: str) -> Iterator[None]:
    """protobuf says ValueError to a number beyond its field's 32 or 64 bits."""
    try:
        yield
    except ValueError as error:
        raise _invalid(f"{what} holds a number that the wire cannot carry: {error}") from error
