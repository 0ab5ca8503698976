"""Which gRPC status stands for which ErrorCode, both ways; the one table of client and server.

The exact code travels in trailing metadata, since several share a status.
"""

from collections.abc import Sequence

import grpc

from emu_planner.plan import ErrorCode, PlanError

SERVICE_NAME = "emu.planner.v1.PlannerService"
WIRE_MINOR = 2
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# in client_capabilities and in ServerInfo.capabilities: see planner.proto at Plan
RESUME = "resume"

# metadata of each call: the session's id, for whoever shares calls among services; Ray Serve's name for it
SESSION_KEY = "session_id"
CODE_KEY = "emu-error-code"
ERROR_ID_KEY = "emu-error-id"
RETRY_AFTER_KEY = "emu-retry-after-ms"

STATUS_OF_CODE = {
    ErrorCode.UNKNOWN: grpc.StatusCode.UNKNOWN,
    ErrorCode.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.SERVER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.MODEL_NOT_READY: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.STALE_OBSERVATION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.INCOMPATIBLE_SERVER: grpc.StatusCode.UNIMPLEMENTED,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.INVALID_OUTPUT: grpc.StatusCode.DATA_LOSS,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
}

# for peers that send no emu-error-code: proxies, and gRPC itself
CODE_OF_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.NOT_FOUND: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.ALREADY_EXISTS: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.ABORTED: ErrorCode.INVALID_REQUEST,
    grpc.StatusCode.UNAVAILABLE: ErrorCode.SERVER_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: ErrorCode.SERVER_UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.TIMEOUT,
    grpc.StatusCode.UNIMPLEMENTED: ErrorCode.INCOMPATIBLE_SERVER,
    grpc.StatusCode.UNAUTHENTICATED: ErrorCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorCode.UNAUTHENTICATED,
    grpc.StatusCode.DATA_LOSS: ErrorCode.INVALID_OUTPUT,
    # a service of ours names its own failures: this is a stream that was reset, or a proxy whose service died
    grpc.StatusCode.INTERNAL: ErrorCode.SERVER_UNAVAILABLE,
}
RETRYABLE_CODES = (
    ErrorCode.SERVER_UNAVAILABLE,
    ErrorCode.MODEL_NOT_READY,
    ErrorCode.RESOURCE_EXHAUSTED,
    ErrorCode.TIMEOUT,
    ErrorCode.STALE_OBSERVATION,
)


class StatusError(PlanError):
    """A failure whose gRPC status says more than its code's own would."""

    def __init__(self, status: grpc.StatusCode, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.status = status


def status_of(error: PlanError) -> grpc.StatusCode:
    """The status that a call ends with."""
    return error.status if isinstance(error, StatusError) else STATUS_OF_CODE[error.code]


def trailing_metadata(
    error: PlanError, *, error_id: str = "", retry_after_s: float | None = None
) -> tuple[tuple[str, str], ...]:
    """What a server sends along with the status of `error`."""
    pairs = [(CODE_KEY, error.code.value)]
    if error_id:
        pairs.append((ERROR_ID_KEY, error_id))
    if retry_after_s is not None:
        pairs.append((RETRY_AFTER_KEY, str(round(retry_after_s * 1000))))
    return tuple(pairs)


def error_from_status(
    status: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, str | bytes]], target: str
) -> PlanError:
    """The PlanError that a call's end stands for; words name the server at `target`."""
    values = {key: value for key, value in trailing if isinstance(value, str)}
    code = CODE_OF_STATUS.get(status, ErrorCode.UNKNOWN)
    if values.get(CODE_KEY) in {known.value for known in ErrorCode}:
        code = ErrorCode(values[CODE_KEY])
    message = f"{details or status.name} (from the service at {target})"
    if code is ErrorCode.SERVER_UNAVAILABLE:
        message = f"the planner service at {target} cannot be reached or went away: {details}"
    if code is ErrorCode.INCOMPATIBLE_SERVER:
        message = (
            f"{target} is no emu.planner.v1 service of this kind: {details}; check the address, or bring "
            "emu_planner to one version at both ends"
        )
    wait_ms = values.get(RETRY_AFTER_KEY, "")
    return PlanError(
        code,
        message,
        retryable=code in RETRYABLE_CODES,
        retry_after_s=int(wait_ms) / 1000 if wait_ms.isdecimal() else None,
    )
