"""The one error that crosses rooms, with a code that each adapter maps to its own world.

Knows no gRPC status and no ROS constant: service/, wire/ and ros/ hold those tables.
"""

from enum import Enum


class ErrorCode(Enum):
    """Why a plan ended without being finished."""

    UNKNOWN = "unknown"
    INVALID_REQUEST = "invalid_request"  # the caller's input is wrong; sending it again cannot help
    SERVER_UNAVAILABLE = "server_unavailable"  # no service at that address, or the link broke
    MODEL_NOT_READY = "model_not_ready"  # the service is up and still loading, or draining
    RESOURCE_EXHAUSTED = "resource_exhausted"  # no session, or message too large
    TIMEOUT = "timeout"  # a step, or its first word, took longer than the task allows
    STALE_OBSERVATION = "stale_observation"  # no frame, or none fresh enough
    INCOMPATIBLE_SERVER = "incompatible_server"  # the peer speaks another wire version
    UNAUTHENTICATED = "unauthenticated"  # no token, or a wrong one
    INVALID_OUTPUT = "invalid_output"  # the model wrote something that is no plan
    INTERNAL = "internal"  # a defect on the other side, known there by an error id


class PlanError(Exception):
    """A plan cannot be made, or cannot go on.

    Args:
        code: what kind of failure, for programs.
        message: what was wrong and what to do, for people.
        retryable: whether the same call may succeed later.
        retry_after_s: how long to wait before, where somebody said so.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code.value}: {self.message}"
