"""Who may call the service: tokens, kept as hashes in a file, with limits of their own.

    # name      sha256 of the token                           limits
    robot-1     9f86d081884c7d659a2feaa0c55ad015a3bf4f1b...   sessions=2 calls_per_minute=60

The file is looked at again when it changes, so tokens are added and withdrawn, to the last, while the
service runs; a file that has become unreadable or wrong leaves the last good one in force. Health is
open to everyone. Knows no session and no planner.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health

from emu_planner.plan import ErrorCode, PlanError
from emu_planner.wire.credentials import AUTHORIZATION, CredentialsError
from emu_planner.wire.status import SERVICE_NAME, STATUS_OF_CODE, trailing_metadata

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MINUTE_S = 60.0
_COUNTED = (f"/{SERVICE_NAME}/Plan", f"/{SERVICE_NAME}/GeneratePlan")

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Client:
    """One token's holder and limits."""

    name: str
    # SHA-256 of the token, in hexadecimal digits
    digest: str
    # sessions at once; 0: as many as the service has
    sessions: int = 0
    # plans and sessions begun within any minute; 0: no limit
    calls_per_minute: int = 0


class Access:
    """The tokens of a file.

    Args:
        path: the file; see the module's text.
        clock_s: monotonic seconds.

    Raises:
        CredentialsError: the file cannot be read, a line of it is wrong, or it holds no token.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock_s = path, clock_s
        self._version = _version(path)
        self._clients = read_clients(path)
        if not self._clients:
            raise CredentialsError(f"{path} holds no token; add one with `emu-planner tokens add`")
        self._calls: dict[str, deque[float]] = {}

    def identify(self, metadata: Metadata) -> Client:
        """Whose token came with a call.

        Raises:
            PlanError: UNAUTHENTICATED without a known token.
        """
        self._refresh()
        sent = next((value for key, value in metadata if key == AUTHORIZATION), "")
        scheme, _, token = (sent if isinstance(sent, str) else "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise PlanError(
                ErrorCode.UNAUTHENTICATED,
                "this service asks for a token; set EMU_PLANNER_TOKEN_FILE to the file that holds yours",
            )
        digest = hash_token(token)
        # every line is compared: how long it takes tells nothing about which one matched
        found = [client for client in self._clients if hmac.compare_digest(client.digest, digest)]
        if not found:
            raise PlanError(
                ErrorCode.UNAUTHENTICATED, "the token is not known here; it may have been withdrawn"
            )
        return found[0]

    def admit(self, metadata: Metadata) -> Client:
        """Like identify, and counts the call. PlanError RESOURCE_EXHAUSTED: too many in a minute."""
        return self._count(self.identify(metadata))

    def admit_again(self, name: str) -> Client:
        """Count a further plan in a session of that client.

        Raises:
            PlanError: UNAUTHENTICATED when the token was withdrawn; RESOURCE_EXHAUSTED as admit.
        """
        self._refresh()
        client = next((client for client in self._clients if client.name == name), None)
        if client is None:
            raise PlanError(ErrorCode.UNAUTHENTICATED, f"the token of {name} has been withdrawn")
        return self._count(client)

    def _count(self, client: Client) -> Client:
        if not client.calls_per_minute:
            return client
        now_s, calls = self._clock_s(), self._calls.setdefault(client.name, deque())
        while calls and now_s - calls[0] >= _MINUTE_S:
            calls.popleft()
        if len(calls) >= client.calls_per_minute:
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"{client.name} may make {client.calls_per_minute} calls a minute; "
                f"the next is possible in {_MINUTE_S - (now_s - calls[0]):.0f} s",
                retryable=True,
            )
        calls.append(now_s)
        return client

    def sessions_of(self, name: str) -> int:
        """Sessions at once of that client; 0: as many as the service has."""
        return next((client.sessions for client in self._clients if client.name == name), 0)

    def _refresh(self) -> None:
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._clients = read_clients(self._path)
        except CredentialsError as error:
            logger.error("the tokens known so far stay in force: %s", error)
        else:
            logger.info("%s: %d tokens", self._path, len(self._clients))


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call without a known token, but health."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Let the call through, or answer it with the error's status."""
        method = handler_call_details.method
        if method.startswith(f"/{health.SERVICE_NAME}/"):
            return await continuation(handler_call_details)
        # what only asks how the service is does not count among the calls of a minute
        check = self._access.admit if method in _COUNTED else self._access.identify
        try:
            check(handler_call_details.invocation_metadata)
        except PlanError as error:
            handler = await continuation(handler_call_details)
            return handler if handler is None else _refusing(handler, error)
        return await continuation(handler_call_details)


def hash_token(token: str) -> str:
    """SHA-256 in hexadecimal digits. Tokens are long and random, so one round is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A token of 256 random bits."""
    return secrets.token_urlsafe(32)


def read_clients(path: Path) -> list[Client]:
    """The lines of a token file. CredentialsError: which line is wrong, and what is expected."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read the token file {path}: {error}") from error
    clients: list[Client] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            client = _client(words)
        except ValueError as error:
            raise CredentialsError(f"{path} line {number}: {error}") from error
        if client.name in {other.name for other in clients}:
            raise CredentialsError(f"{path} line {number}: the name {client.name} is there already")
        clients.append(client)
    return clients


def _client(words: list[str]) -> Client:
    if len(words) < 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1]):
        raise ValueError("expected a name and the 64 hexadecimal digits of the token's SHA-256")
    known = {f.name for f in fields(Client)} - {"name", "digest"}
    limits: dict[str, int] = {}
    for word in words[2:]:
        key, _, value = word.partition("=")
        if key not in known or not value.isdigit():
            raise ValueError(f"{word!r}: expected one of {sorted(known)}, then = and a number")
        limits[key] = int(value)
    return Client(words[0], words[1], **limits)


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.expanduser().stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _refusing(handler: Any, error: PlanError) -> Any:
    """A handler of the same kind that ends each call with the error."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(STATUS_OF_CODE[error.code], error.message, trailing_metadata(error))

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(refuse, handler.request_deserializer, handler.response_serializer)
