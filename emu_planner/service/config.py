"""Limits and addresses of the service. Knows no command line."""

import math
from dataclasses import dataclass
from pathlib import Path

from emu_planner.wire.address import is_local
from emu_planner.wire.status import MAX_MESSAGE_BYTES

DEFAULT_ADDRESS = "127.0.0.1:50151"


@dataclass(frozen=True)
class ServiceConfig:
    """How a planner is served; all times in seconds."""

    # "host:port" (port 0: any free one) or "unix:/path"
    address: str = DEFAULT_ADDRESS
    # serve other machines although the link is not encrypted, or asks nobody who they are
    insecure: bool = False
    # PEM files: the service's certificate (with its chain) and key; None: the link is not encrypted
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    # PEM file of the authorities that sign clients' certificates; None: clients need none
    client_ca: Path | None = None
    # file of the tokens that clients need (service/access.py); None: they need none
    tokens: Path | None = None
    # sessions at once; one more is told RESOURCE_EXHAUSTED
    max_sessions: int = 16
    # plans that run at once, each in a thread; further ones wait in their order. Whoever loads the
    # planner sees to it that it can make so many
    max_running_plans: int = 1
    # what GetServerInfo tells
    model: str = ""
    model_version: str = ""
    # most pixels of one received picture
    max_pixels: int = 4096 * 4096
    # most steps of a history
    max_history: int = 200
    # largest message either way, bytes
    max_message_bytes: int = MAX_MESSAGE_BYTES
    # most that a plan is ahead of its client, bytes, pictures uncompressed; one more ends the plan: a client
    # that reads too slowly shall not fill the service's memory
    unread_bytes: int = 4 * MAX_MESSAGE_BYTES
    # a client that takes no response for so long has no link any more
    write_timeout_s: float = 120.0
    # from a connection to its first bytes of TLS and HTTP/2
    handshake_timeout_s: float = 10.0
    # from the start of a call to its first message
    open_timeout_s: float = 10.0
    # from a granted credit to the first observation of a plan
    observation_timeout_s: float = 10.0
    # a session without a plan in flight ends after this
    idle_timeout_s: float = 300.0
    # how long a session outlives its link, when its client can resume; 0: not at all. Longer than
    # clients take to see that a link is silent
    resume_window_s: float = 30.0
    # most that one session keeps for a client that has not confirmed it, bytes: a step with a large
    # picture has to fit. While the client is away, more than that ends the session
    resume_bytes: int = 2 * MAX_MESSAGE_BYTES
    # a plan that was asked to stop has this long to do so; then its reader is told that it has,
    # and only its place among the running plans stays taken until it really ends
    stop_grace_s: float = 2.0
    # between progress messages while a model loads
    loading_notice_s: float = 2.0
    # what RESOURCE_EXHAUSTED and UNAVAILABLE suggest to wait before trying again
    retry_after_s: float = 2.0
    # from the request to shut down until running plans are asked to stop
    drain_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        for name in (
            "max_sessions",
            "max_running_plans",
            "max_pixels",
            "max_message_bytes",
            "resume_bytes",
            "unread_bytes",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.resume_window_s < math.inf:
            raise ValueError(f"resume_window_s is {self.resume_window_s}; expected 0 or more")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("a certificate and its key go together; give both or neither")
        if self.client_ca is not None and self.tls_certificate is None:
            raise ValueError("only an encrypted link checks clients' certificates; give the service one too")
        if self.insecure or is_local(self.address):
            return
        if self.tls_certificate is None:
            raise ValueError(
                f"{self.address} can be reached from other machines, and this link has no encryption; "
                "give a certificate and its key, serve 127.0.0.1 and tunnel to it, or say insecure"
            )
        if self.client_ca is None and self.tokens is None:
            raise ValueError(
                f"{self.address} can be reached from other machines, and nobody is asked who they are; "
                "give a file of tokens or the authority of clients' certificates, or say insecure"
            )
