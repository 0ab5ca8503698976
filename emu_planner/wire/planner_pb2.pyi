from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
FAULT_CODE_CONTEXT_OVERFLOW: FaultCode
FAULT_CODE_INTERNAL: FaultCode
FAULT_CODE_MALFORMED_OUTPUT: FaultCode
FAULT_CODE_STALE_OBSERVATION: FaultCode
FAULT_CODE_SUBGOAL_TIMEOUT: FaultCode
FAULT_CODE_UNSPECIFIED: FaultCode
FINISH_REASON_INTERRUPTED: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_SUPERSEDED: FinishReason
FINISH_REASON_TIMEOUT: FinishReason
FINISH_REASON_UNSPECIFIED: FinishReason
IMAGE_ENCODING_JPEG: ImageEncoding
IMAGE_ENCODING_PNG: ImageEncoding
IMAGE_ENCODING_UNSPECIFIED: ImageEncoding
IMAGE_ENCODING_VISION_TOKENS: ImageEncoding
IMAGE_ENCODING_WEBP: ImageEncoding
KEYFRAME_STATUS_MALFORMED: KeyframeStatus
KEYFRAME_STATUS_NOT_REQUESTED: KeyframeStatus
KEYFRAME_STATUS_OK: KeyframeStatus
KEYFRAME_STATUS_UNSPECIFIED: KeyframeStatus
OUTCOME_FAILED: Outcome
OUTCOME_SKIPPED: Outcome
OUTCOME_STARTED: Outcome
OUTCOME_SUCCEEDED: Outcome
OUTCOME_UNSPECIFIED: Outcome
REPLAN_REASON_DRIFT: ReplanReason
REPLAN_REASON_FAILURE: ReplanReason
REPLAN_REASON_INSTRUCTION: ReplanReason
REPLAN_REASON_OPERATOR: ReplanReason
REPLAN_REASON_PROGRESS: ReplanReason
REPLAN_REASON_UNSPECIFIED: ReplanReason
REVIEW_DECISION_APPROVE: ReviewDecision
REVIEW_DECISION_EDIT: ReviewDecision
REVIEW_DECISION_REGENERATE: ReviewDecision
REVIEW_DECISION_REJECT: ReviewDecision
REVIEW_DECISION_SKIP: ReviewDecision
REVIEW_DECISION_UNSPECIFIED: ReviewDecision
SERVER_STATE_DRAINING: ServerState
SERVER_STATE_LOADING: ServerState
SERVER_STATE_QUEUED: ServerState
SERVER_STATE_RUNNING: ServerState
SERVER_STATE_UNSPECIFIED: ServerState

class CameraSpec(_message.Message):
    __slots__ = ["frame_id", "height", "k", "name", "width"]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    frame_id: str
    height: int
    k: _containers.RepeatedScalarFieldContainer[float]
    name: str
    width: int
    def __init__(self, name: _Optional[str] = ..., frame_id: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., k: _Optional[_Iterable[float]] = ...) -> None: ...

class CloseSession(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class Frame(_message.Message):
    __slots__ = ["camera", "capture_time", "data", "encoding", "height", "width"]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    camera: str
    capture_time: _timestamp_pb2.Timestamp
    data: bytes
    encoding: ImageEncoding
    height: int
    width: int
    def __init__(self, camera: _Optional[str] = ..., encoding: _Optional[_Union[ImageEncoding, str]] = ..., data: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., capture_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GeneratePlanRequest(_message.Message):
    __slots__ = ["observations", "session"]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[Observation]
    session: OpenSession
    def __init__(self, session: _Optional[_Union[OpenSession, _Mapping]] = ..., observations: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ...) -> None: ...

class GeneratePlanResponse(_message.Message):
    __slots__ = ["event"]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: PlanResponse
    def __init__(self, event: _Optional[_Union[PlanResponse, _Mapping]] = ...) -> None: ...

class GenerationConfig(_message.Message):
    __slots__ = ["first_subgoal_timeout", "guidance_scale", "keyframe_height", "keyframe_width", "keyframes", "max_subgoals", "seed", "subgoal_timeout", "temperature", "top_k", "top_p"]
    FIRST_SUBGOAL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    KEYFRAMES_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_SUBGOALS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SUBGOAL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    first_subgoal_timeout: _duration_pb2.Duration
    guidance_scale: float
    keyframe_height: int
    keyframe_width: int
    keyframes: bool
    max_subgoals: int
    seed: int
    subgoal_timeout: _duration_pb2.Duration
    temperature: float
    top_k: int
    top_p: float
    def __init__(self, max_subgoals: _Optional[int] = ..., keyframes: bool = ..., keyframe_width: _Optional[int] = ..., keyframe_height: _Optional[int] = ..., seed: _Optional[int] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., guidance_scale: _Optional[float] = ..., first_subgoal_timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., subgoal_timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ["server"]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    server: ServerInfo
    def __init__(self, server: _Optional[_Union[ServerInfo, _Mapping]] = ...) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ["epoch"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class Keyframe(_message.Message):
    __slots__ = ["camera", "image", "sha256", "status", "views"]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    camera: str
    image: Frame
    sha256: bytes
    status: KeyframeStatus
    views: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, status: _Optional[_Union[KeyframeStatus, str]] = ..., image: _Optional[_Union[Frame, _Mapping]] = ..., camera: _Optional[str] = ..., sha256: _Optional[bytes] = ..., views: _Optional[_Iterable[str]] = ...) -> None: ...

class KeyframeProgress(_message.Message):
    __slots__ = ["epoch", "index", "preview", "tokens_done", "tokens_total"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    TOKENS_DONE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    index: int
    preview: Frame
    tokens_done: int
    tokens_total: int
    def __init__(self, epoch: _Optional[int] = ..., index: _Optional[int] = ..., tokens_done: _Optional[int] = ..., tokens_total: _Optional[int] = ..., preview: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ["age", "capture_time", "frames", "proprioception", "seq", "task_state"]
    class ProprioceptionEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AGE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PROPRIOCEPTION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TASK_STATE_FIELD_NUMBER: _ClassVar[int]
    age: _duration_pb2.Duration
    capture_time: _timestamp_pb2.Timestamp
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    proprioception: _containers.ScalarMap[str, float]
    seq: int
    task_state: str
    def __init__(self, seq: _Optional[int] = ..., capture_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ..., proprioception: _Optional[_Mapping[str, float]] = ..., task_state: _Optional[str] = ...) -> None: ...

class ObservationCredit(_message.Message):
    __slots__ = ["consumed_seq", "credits", "superseded"]
    CONSUMED_SEQ_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    consumed_seq: int
    credits: int
    superseded: int
    def __init__(self, credits: _Optional[int] = ..., consumed_seq: _Optional[int] = ..., superseded: _Optional[int] = ...) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ["cameras", "client_capabilities", "client_wire_minor", "generation", "history", "instruction", "model", "resume", "session_id"]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CLIENT_WIRE_MINOR_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    cameras: _containers.RepeatedCompositeFieldContainer[CameraSpec]
    client_capabilities: _containers.RepeatedScalarFieldContainer[str]
    client_wire_minor: int
    generation: GenerationConfig
    history: _containers.RepeatedCompositeFieldContainer[PastSubgoal]
    instruction: str
    model: str
    resume: ResumePoint
    session_id: str
    def __init__(self, session_id: _Optional[str] = ..., instruction: _Optional[str] = ..., cameras: _Optional[_Iterable[_Union[CameraSpec, _Mapping]]] = ..., generation: _Optional[_Union[GenerationConfig, _Mapping]] = ..., client_wire_minor: _Optional[int] = ..., client_capabilities: _Optional[_Iterable[str]] = ..., resume: _Optional[_Union[ResumePoint, _Mapping]] = ..., model: _Optional[str] = ..., history: _Optional[_Iterable[_Union[PastSubgoal, _Mapping]]] = ...) -> None: ...

class PastSubgoal(_message.Message):
    __slots__ = ["confidence", "detail", "index", "instruction", "keyframe", "outcome"]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    confidence: float
    detail: str
    index: int
    instruction: str
    keyframe: Keyframe
    outcome: Outcome
    def __init__(self, index: _Optional[int] = ..., instruction: _Optional[str] = ..., keyframe: _Optional[_Union[Keyframe, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., detail: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ["client_time", "id"]
    CLIENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    client_time: _timestamp_pb2.Timestamp
    id: int
    def __init__(self, id: _Optional[int] = ..., client_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PlanComplete(_message.Message):
    __slots__ = ["epoch", "reason", "subgoals", "timing"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SUBGOALS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    reason: FinishReason
    subgoals: int
    timing: Timing
    def __init__(self, epoch: _Optional[int] = ..., reason: _Optional[_Union[FinishReason, str]] = ..., subgoals: _Optional[int] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class PlanFault(_message.Message):
    __slots__ = ["code", "epoch", "message", "retry_after", "retryable"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: FaultCode
    epoch: int
    message: str
    retry_after: _duration_pb2.Duration
    retryable: bool
    def __init__(self, epoch: _Optional[int] = ..., code: _Optional[_Union[FaultCode, str]] = ..., message: _Optional[str] = ..., retryable: bool = ..., retry_after: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ["close", "interrupt", "observation", "open", "outcome", "ping", "received", "replan", "review"]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    REPLAN_FIELD_NUMBER: _ClassVar[int]
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    close: CloseSession
    interrupt: Interrupt
    observation: Observation
    open: OpenSession
    outcome: SubgoalOutcome
    ping: Ping
    received: Received
    replan: Replan
    review: SubgoalReview
    def __init__(self, open: _Optional[_Union[OpenSession, _Mapping]] = ..., observation: _Optional[_Union[Observation, _Mapping]] = ..., replan: _Optional[_Union[Replan, _Mapping]] = ..., review: _Optional[_Union[SubgoalReview, _Mapping]] = ..., outcome: _Optional[_Union[SubgoalOutcome, _Mapping]] = ..., interrupt: _Optional[_Union[Interrupt, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., received: _Optional[_Union[Received, _Mapping]] = ..., close: _Optional[_Union[CloseSession, _Mapping]] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ["credit", "fault", "keyframe_progress", "opened", "plan_complete", "plan_started", "pong", "progress", "seq", "subgoal", "text_delta"]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    PLAN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    PLAN_STARTED_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SUBGOAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    credit: ObservationCredit
    fault: PlanFault
    keyframe_progress: KeyframeProgress
    opened: SessionOpened
    plan_complete: PlanComplete
    plan_started: PlanStarted
    pong: Pong
    progress: ServerProgress
    seq: int
    subgoal: SubgoalComplete
    text_delta: TextDelta
    def __init__(self, opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., progress: _Optional[_Union[ServerProgress, _Mapping]] = ..., credit: _Optional[_Union[ObservationCredit, _Mapping]] = ..., plan_started: _Optional[_Union[PlanStarted, _Mapping]] = ..., text_delta: _Optional[_Union[TextDelta, _Mapping]] = ..., keyframe_progress: _Optional[_Union[KeyframeProgress, _Mapping]] = ..., subgoal: _Optional[_Union[SubgoalComplete, _Mapping]] = ..., plan_complete: _Optional[_Union[PlanComplete, _Mapping]] = ..., fault: _Optional[_Union[PlanFault, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., seq: _Optional[int] = ...) -> None: ...

class PlanStarted(_message.Message):
    __slots__ = ["epoch", "observation_seq", "observation_time", "seed"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SEQ_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_TIME_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    observation_seq: int
    observation_time: _timestamp_pb2.Timestamp
    seed: int
    def __init__(self, epoch: _Optional[int] = ..., observation_seq: _Optional[int] = ..., seed: _Optional[int] = ..., observation_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ["client_time", "id", "server_time"]
    CLIENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    client_time: _timestamp_pb2.Timestamp
    id: int
    server_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[int] = ..., client_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., server_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Received(_message.Message):
    __slots__ = ["seq"]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Replan(_message.Message):
    __slots__ = ["base_epoch", "history", "instruction", "reason"]
    BASE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    base_epoch: int
    history: _containers.RepeatedCompositeFieldContainer[PastSubgoal]
    instruction: str
    reason: ReplanReason
    def __init__(self, base_epoch: _Optional[int] = ..., instruction: _Optional[str] = ..., reason: _Optional[_Union[ReplanReason, str]] = ..., history: _Optional[_Iterable[_Union[PastSubgoal, _Mapping]]] = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ["epoch", "last_response_seq", "next_index"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_RESPONSE_SEQ_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    last_response_seq: int
    next_index: int
    def __init__(self, epoch: _Optional[int] = ..., next_index: _Optional[int] = ..., last_response_seq: _Optional[int] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ["active_sessions", "capabilities", "max_sessions", "model", "model_version", "name", "state", "version", "wire_minor"]
    ACTIVE_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WIRE_MINOR_FIELD_NUMBER: _ClassVar[int]
    active_sessions: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    max_sessions: int
    model: str
    model_version: str
    name: str
    state: ServerState
    version: str
    wire_minor: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., wire_minor: _Optional[int] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[ServerState, str]] = ..., active_sessions: _Optional[int] = ..., max_sessions: _Optional[int] = ...) -> None: ...

class ServerProgress(_message.Message):
    __slots__ = ["detail", "expected_wait", "queue_position", "state"]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_WAIT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    detail: str
    expected_wait: _duration_pb2.Duration
    queue_position: int
    state: ServerState
    def __init__(self, state: _Optional[_Union[ServerState, str]] = ..., detail: _Optional[str] = ..., queue_position: _Optional[int] = ..., expected_wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ["epoch", "frame_height", "frame_width", "max_observation_age", "resume_window", "resumed", "server", "session_id"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FRAME_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAME_WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_OBSERVATION_AGE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    RESUME_WINDOW_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    frame_height: int
    frame_width: int
    max_observation_age: _duration_pb2.Duration
    resume_window: _duration_pb2.Duration
    resumed: bool
    server: ServerInfo
    session_id: str
    def __init__(self, session_id: _Optional[str] = ..., server: _Optional[_Union[ServerInfo, _Mapping]] = ..., frame_width: _Optional[int] = ..., frame_height: _Optional[int] = ..., max_observation_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., resumed: bool = ..., resume_window: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., epoch: _Optional[int] = ...) -> None: ...

class SubgoalComplete(_message.Message):
    __slots__ = ["confidence", "epoch", "index", "instruction", "keyframe", "observation_seq", "timing", "validity"]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    confidence: float
    epoch: int
    index: int
    instruction: str
    keyframe: Keyframe
    observation_seq: int
    timing: Timing
    validity: _duration_pb2.Duration
    def __init__(self, epoch: _Optional[int] = ..., index: _Optional[int] = ..., instruction: _Optional[str] = ..., keyframe: _Optional[_Union[Keyframe, _Mapping]] = ..., observation_seq: _Optional[int] = ..., confidence: _Optional[float] = ..., validity: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class SubgoalOutcome(_message.Message):
    __slots__ = ["detail", "epoch", "index", "outcome"]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    detail: str
    epoch: int
    index: int
    outcome: Outcome
    def __init__(self, epoch: _Optional[int] = ..., index: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class SubgoalReview(_message.Message):
    __slots__ = ["decision", "epoch", "index", "instruction"]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    decision: ReviewDecision
    epoch: int
    index: int
    instruction: str
    def __init__(self, epoch: _Optional[int] = ..., index: _Optional[int] = ..., decision: _Optional[_Union[ReviewDecision, str]] = ..., instruction: _Optional[str] = ...) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ["epoch", "index", "text"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    index: int
    text: str
    def __init__(self, epoch: _Optional[int] = ..., index: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ["cached_tokens", "decode", "generated_tokens", "keyframe", "prefill", "prompt_tokens", "queue", "text"]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KEYFRAME_FIELD_NUMBER: _ClassVar[int]
    PREFILL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    cached_tokens: int
    decode: _duration_pb2.Duration
    generated_tokens: int
    keyframe: _duration_pb2.Duration
    prefill: _duration_pb2.Duration
    prompt_tokens: int
    queue: _duration_pb2.Duration
    text: _duration_pb2.Duration
    def __init__(self, queue: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., prefill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., text: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., keyframe: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., decode: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., prompt_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ...) -> None: ...

class ImageEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ReplanReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ReviewDecision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ServerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class KeyframeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FaultCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
