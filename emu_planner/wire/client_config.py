"""What a client of the service is told: limits, pictures, credentials. Knows no channel."""

from dataclasses import dataclass, field

from emu_planner.plan import Camera
from emu_planner.wire.credentials import Credentials
from emu_planner.wire.images import ImageConfig
from emu_planner.wire.status import MAX_MESSAGE_BYTES
from emu_planner.wire.tracing import Tracing


@dataclass(frozen=True)
class ClientConfig:
    """Limits of a RemotePlanner; all times in seconds."""

    # until a connection stands and the service says what it is
    connect_timeout_s: float = 3.0
    # until the service answers the first message
    answer_timeout_s: float = 5.0
    # from then until the plan begins: the service may be loading its model, or be busy
    start_timeout_s: float = 600.0
    # for the source to show a first observation, once the service asks for it
    observation_timeout_s: float = 5.0
    # until the first whole subgoal, and for each later one; the task's own limits go before these
    first_subgoal_timeout_s: float = 300.0
    subgoal_timeout_s: float = 300.0
    # the task's limits are the service's to enforce: this much later the client does it itself
    watchdog_margin_s: float = 2.0
    # a link that breaks within a plan is sought again for so long, and the plan goes on where it was;
    # 0: it is not. The service may keep a plan for less (its resume_window_s)
    resume_patience_s: float = 2.0
    # after so long a silence a service that can resume is asked for a sign of life; when none comes
    # within twice that, the link counts as broken
    ping_after_s: float = 5.0
    # the whole call
    overall_timeout_s: float = 3600.0
    # between an Interrupt and cancelling the call
    interrupt_grace_s: float = 2.0
    # the cameras in words: sizes, frames, intrinsics; () declares none
    cameras: tuple[Camera, ...] = ()
    # how frames are sent, and which keyframes are accepted
    images: ImageConfig = field(default_factory=ImageConfig)
    # largest message either way, bytes
    max_message_bytes: int = MAX_MESSAGE_BYTES
    # TLS and token
    credentials: Credentials = field(default_factory=Credentials)
    # spans of each plan (docs/wire.md); None: none
    tracing: Tracing | None = None
