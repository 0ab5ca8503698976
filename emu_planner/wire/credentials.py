"""How a client shows who it is and checks who answers: TLS and a token, from files or the environment.

Never from ROS parameters, which every node of the graph can read. Knows no service.
"""

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from emu_planner.wire.address import is_local

AUTHORIZATION = "authorization"
_ENVIRONMENT = {
    "ca": "EMU_PLANNER_CA",
    "certificate": "EMU_PLANNER_CERTIFICATE",
    "key": "EMU_PLANNER_KEY",
    "token_file": "EMU_PLANNER_TOKEN_FILE",
}
_TOKEN = "EMU_PLANNER_TOKEN"
_TLS = "EMU_PLANNER_TLS"
_PRINTABLE = frozenset(string.ascii_letters + string.digits + "-._~+/=")


class CredentialsError(ValueError):
    """A certificate, key or token cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class Credentials:
    """What one client knows; without any of it the link is plain, which is for this machine only."""

    # encrypt; certificates below say so too
    tls: bool = False
    # PEM file of the authorities that may sign the service's certificate; None: the system's
    ca: Path | None = None
    # PEM files of this client's own certificate and its key, for a service that asks for them
    certificate: Path | None = None
    key: Path | None = None
    # the file that holds the token; read for each call, so a new token needs no restart
    token_file: Path | None = None
    # the token itself, where a file is not to be had
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise CredentialsError("a client's certificate and its key go together; give both or neither")
        if self.token and self.token_file is not None:
            raise CredentialsError(f"both {_TOKEN} and a token file are given; keep one")
        self.bearer()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Credentials":
        """From EMU_PLANNER_TLS, _CA, _CERTIFICATE, _KEY, _TOKEN_FILE, _TOKEN; empty ones count as unset."""
        values = os.environ if environment is None else environment
        paths = {name: Path(values[key]) for name, key in _ENVIRONMENT.items() if values.get(key)}
        return cls(tls=values.get(_TLS, "") not in ("", "0"), token=values.get(_TOKEN, ""), **paths)

    @property
    def encrypted(self) -> bool:
        """Whether the link is encrypted."""
        return self.tls or self.ca is not None or self.certificate is not None

    def channel(self, target: str, options: Sequence[tuple[str, int]]) -> grpc.Channel:
        """A channel to "host:port" or "unix:/path".

        Raises:
            CredentialsError: a file cannot be read, or the token would cross a network in the clear.
        """
        if not self.encrypted:
            if self.bearer() and not is_local(target):
                raise CredentialsError(
                    f"a token for {target} would cross the network in the clear; name the service's "
                    f"certificate authority ({_ENVIRONMENT['ca']}), or set {_TLS}=1"
                )
            return grpc.insecure_channel(target, options)
        secrets = grpc.ssl_channel_credentials(
            read_file(self.ca, "certificate authority"),
            read_file(self.key, "client key"),
            read_file(self.certificate, "client certificate"),
        )
        return grpc.secure_channel(target, secrets, options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call. CredentialsError: the token file cannot be read or holds no token."""
        token = self.bearer()
        return ((AUTHORIZATION, f"Bearer {token}"),) if token else ()

    def bearer(self) -> str:
        """The token as it is now; empty when there is none."""
        if self.token_file is None:
            token, place = self.token, _TOKEN
        else:
            data = read_file(self.token_file, "token") or b""
            token, place = data.decode("utf-8", "replace").strip(), str(self.token_file)
            if not token:
                raise CredentialsError(f"the token file {place} is empty")
        if not _PRINTABLE.issuperset(token):
            raise CredentialsError(f"{place} is no token; expected one line of letters and digits")
        return token


def read_file(path: Path | None, what: str) -> bytes | None:
    """The bytes of a file, or None without a path. CredentialsError: it cannot be read."""
    if path is None:
        return None
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise CredentialsError(f"cannot read the {what} file {path}: {error.strerror}") from error
