"""A rosbag2 folder with MCAP inside, written so that little is lost when the writer is killed.

    NAME/NAME.mcap, NAME/metadata.yaml

Messages gather in a chunk of 1 MiB at most, which `flush` also ends; a file that was cut reads up to
its last whole chunk (read.mend). Written by rosbags, which needs no ROS. Knows no topic.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

_VERSION = 9  # of the metadata: what ROS 2 Jazzy writes


@dataclass(frozen=True)
class Definition:
    """A message type as a bag describes it."""

    # "package/msg/Name"; srv or action for what belongs to those
    name: str
    # its own definition and those of all types in it (definitions.py)
    text: str
    # RIHS01 hash (REP 2011)
    digest: str


def new_folder(parent: Path) -> Path:
    """A name below `parent` that nobody has yet, from the local time as `ros2 bag record` does it."""
    first = parent / datetime.now().strftime("emu_planner_%Y_%m_%d-%H_%M_%S")
    path, number = first, 1
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path


class BagWriter:
    """A context manager; one thread.

    Args:
        folder: of the new bag; must not exist.

    Raises:
        OSError: the folder cannot be made, or the disk is full (so do the methods).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._connections: dict[str, Connection] = {}
        self._last_ns = 0
        self._writer = Writer(folder, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self, topic: str, definition: Definition, qos: list[Qos], data: bytes | memoryview, now_ns: int
    ) -> None:
        """Add a message, as the middleware serialised it (CDR).

        Args:
            topic: absolute name.
            definition: of its type; so is `qos`, only the first message of a topic tells.
            qos: as its publisher offers it.
            data: the message.
            now_ns: when it was received; never before that of the message before.
        """
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(
                topic,
                definition.name,
                msgdef=definition.text,
                rihs01=definition.digest,
                offered_qos_profiles=qos,
            )
            self._connections[topic] = connection
            self.counts[topic] = 0
        # a clock that is set back must not disorder the file: what is cut is read without an index
        self._last_ns = max(self._last_ns, now_ns)
        self._writer.write(connection, self._last_ns, data)
        self.counts[topic] += 1

    def flush(self) -> None:
        """Put all that was written into the file: what comes later cannot damage it."""
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        if self._writer.storage is not None:
            self._writer.close()

    @property
    def _storage(self) -> Any:
        return self._writer.storage
