"""What all sessions of a service share. Knows no call and no message but ServerInfo."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import emu_planner
from emu_planner.plan import ErrorCode, PlanError, Planner
from emu_planner.service.access import Access
from emu_planner.service.config import ServiceConfig
from emu_planner.service.slots import RunSlots
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.status import RESUME, WIRE_MINOR
from emu_planner.wire.tracing import Tracing

if TYPE_CHECKING:
    from emu_planner.service.lasting import LastingSession

CAPABILITIES = ("history", "interrupt", "jpeg", "keyframe-png", "outcome", "ping", "png", "replan")


@dataclass(eq=False)
class ServiceState:
    """Touched in the event loop's thread alone."""

    config: ServiceConfig
    slots: RunSlots
    # None: nobody is asked for a token
    access: Access | None = None
    # None: no spans of what is done
    tracing: Tracing | None = None
    # None while the model loads
    planner: Planner | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    sessions: set["LastingSession"] = field(default_factory=set)
    # those of them whose client can resume, by session id
    lasting: dict[str, "LastingSession"] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Sessions whose link is broken, and that are kept for their clients."""
        # a copy in one step: metrics are read in a thread of their own
        return sum(session.left_s is not None for session in tuple(self.sessions))

    def number(self) -> pb.ServerState:
        """The state as the wire counts it."""
        if self.draining:
            return pb.SERVER_STATE_DRAINING
        return pb.SERVER_STATE_RUNNING if self.planner else pb.SERVER_STATE_LOADING

    def info(self) -> pb.ServerInfo:
        """What this service is."""
        return pb.ServerInfo(
            name="emu_planner",
            version=emu_planner.__version__,
            wire_minor=WIRE_MINOR,
            model=self.config.model,
            model_version=self.config.model_version,
            capabilities=(*CAPABILITIES, RESUME) if self.config.resume_window_s else CAPABILITIES,
            state=self.number(),
            active_sessions=len(self.sessions),
            max_sessions=self.config.max_sessions,
        )


def draining_error() -> PlanError:
    """What a client hears from a service that shuts down."""
    return PlanError(
        ErrorCode.MODEL_NOT_READY, "the service is shutting down; try again later", retryable=True
    )
