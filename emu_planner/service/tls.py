"""The service's certificate, taken again from its files when they change. Knows no call."""

import logging
import threading
from pathlib import Path

import grpc

from emu_planner.service.config import ServiceConfig
from emu_planner.wire.credentials import CredentialsError, read_file

logger = logging.getLogger(__name__)


def server_credentials(config: ServiceConfig) -> grpc.ServerCredentials | None:
    """TLS as the configuration says; None for a plain link.

    Certificates are renewed under a running service: each handshake looks whether a file changed.

    Raises:
        CredentialsError: a file cannot be read, or holds no PEM of its kind.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return None
    files = _Files(config.tls_certificate, config.tls_key, config.client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.read(), files.newer, require_client_authentication=config.client_ca is not None
    )


class _Files:
    """The three files; `newer` is called by gRPC's threads."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._paths = (certificate, key, client_ca)
        self._lock = threading.Lock()
        self._read = self._contents()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """As the files were when they were read last."""
        certificate, key, client_ca = self._read
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """The files if they changed and can be used; None: what is in force stays."""
        with self._lock:
            try:
                contents = self._contents()
            except CredentialsError as error:
                logger.error("the certificate so far stays in force: %s", error)
                return None
            if contents == self._read:
                return None
            self._read = contents
            logger.info("certificate renewed from %s", self._paths[0])
            return self.read()

    def _contents(self) -> tuple[bytes, bytes, bytes | None]:
        certificate, key, client_ca = self._paths
        return (
            _pem(certificate, "service's certificate", b"CERTIFICATE"),
            _pem(key, "service's key", b"PRIVATE KEY"),
            None if client_ca is None else _pem(client_ca, "authority of clients", b"CERTIFICATE"),
        )


def _pem(path: Path, what: str, kind: bytes) -> bytes:
    data = read_file(path, what) or b""
    if b"-----BEGIN " not in data or kind not in data:
        raise CredentialsError(f"{path} holds no PEM {kind.decode().lower()}; expected the {what}")
    return data
