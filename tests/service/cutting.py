"""A TCP proxy between client and service that breaks the link after so many bytes."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable

# closing with this sends RST: the peer's unread bytes are lost, as with a link that breaks
ABRUPT = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Forwards any number of connections, one after another or at once.

    Args:
        target: "host:port" of the service.
        cuts: each breaks all connections when so many bytes in all have come from the service.
    """

    def __init__(self, target: str, cuts: Iterable[int] = ()) -> None:
        self.target = target
        self.cuts = sorted(cuts)
        self.from_service = 0
        self.broken = 0
        self.refuse = False  # break what connects from now on
        self.silent: set[socket.socket] = set()  # from these nothing comes any more
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self.broken += 1
        for pair in pairs:
            for one in pair:
                _break(one)

    def silence(self) -> None:
        """Let what comes from the service on today's connections vanish; they stay open."""
        with self._lock:
            self.silent |= {far for _, far in self._pairs}

    def close(self) -> None:
        """Break everything, and accept no more."""
        # shutdown wakes the thread that accepts; close alone does not
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> "CuttingProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                host, _, port = self.target.rpartition(":")
                if self.refuse:
                    _break(near)
                    continue
                try:
                    far = socket.create_connection((host, int(port)))
                except OSError:
                    _break(near)
                    continue
                with self._lock:
                    self._pairs.append((near, far))
                threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
                threading.Thread(target=self._copy_back, args=(far, near), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _copy_back(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while data and source not in self.silent:
                    left = self.cuts[0] - self.from_service if self.cuts else len(data)
                    part, data = data[:left], data[left:]
                    sink.sendall(part)
                    self.from_service += len(part)
                    if self.cuts and self.from_service >= self.cuts[0]:
                        self.cuts.pop(0)
                        self.cut()
                        return
            sink.shutdown(socket.SHUT_WR)


def _break(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
    # shutdown wakes a thread that reads from it; close alone does not
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
