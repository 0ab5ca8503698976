"""A rosbag2 folder or file, read by the definitions that it holds; and one that was cut, made whole.

Messages come as objects with the fields that ROS's own have, whatever is installed here. Knows no topic.
"""

import contextlib
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from emu_planner.bags.write import BagWriter, Definition

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # a record's kind, and the length of what follows
_CDR_HEAD = 4  # bytes before a serialised message that tell its byte order
_END = 0x0F  # the record after the last message: what follows it is an index
# end of the messages (no checksum), the footer (no index), the magic: a file without an index (MCAP 1)
_TAIL = _HEAD.pack(_END, 4) + bytes(4) + _HEAD.pack(0x02, 20) + bytes(20) + _MAGIC


class BagError(ValueError):
    """A bag cannot be read; the text says why and what to do."""


class Bag:
    """An open bag.

    Attributes:
        topics: type of each topic's messages, "package/msg/Name".
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.topics = {connection.topic: connection.msgtype for connection in reader.connections}
        self._types: dict[str, tuple[Any, str]] = {}

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of reception in ns, message) in order of time; of these topics, or of all.

        Raises:
            BagError: the file is damaged, or a definition in it cannot be read.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        try:
            for connection, stamp_ns, data in self._reader.messages(wanted):
                yield connection.topic, stamp_ns, self._decode(connection, data)
        except (ReaderError, SerdeError, TypesysError) as error:
            raise BagError(f"the bag is damaged: {error}") from error

    def _decode(self, connection: Connection, data: bytes) -> Any:
        if connection.topic not in self._types:
            self._types[connection.topic] = _types_of(connection.msgtype, connection.msgdef.data)
        store, name = self._types[connection.topic]
        return store.deserialize_cdr(data, name)


def _types_of(kind: str, text: str) -> tuple[Any, str]:
    """The types of a definition, and the name of the first among them."""
    # rosbags has no place for the types of services and actions, so all are messages to it
    package, _, rest = kind.partition("/")
    name = f"{package}/msg/{rest.rpartition('/')[2]}"
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, name))
    return store, name


def without_padding(data: bytes, definition: Definition) -> bytes:
    """A message that rclpy serialised: it leaves bytes behind it, which rosbags refuses to read."""
    store, name = _types_of(definition.name, definition.text)
    kind = store.get_msgdef(name)
    is_little_endian = data[1] & 1
    read = kind.deserialize_cdr_le if is_little_endian else kind.deserialize_cdr_be
    _, length = read(data[_CDR_HEAD:], 0, kind.cls, store)
    return data[: _CDR_HEAD + length]


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag's folder, or its one file.

    Raises:
        BagError: there is none, or it was cut; says what to do.
    """
    file = _file_of(path)
    if file.suffix == ".mcap" and cut_at(file) is not None:
        raise BagError(
            f"{path} was not closed, its recorder was killed; "
            f"`emu-planner bag mend {path}` writes what is whole of it into a new bag"
        )
    try:
        with Reader(path if (path / "metadata.yaml").exists() else file) as reader:
            yield Bag(reader)
    except (ReaderError, OSError) as error:
        raise BagError(f"{path} cannot be read as a bag: {error}") from error


def mend(path: Path, out: Path) -> int:
    """Write the messages of a bag that was cut into a new one; the old one stays as it is.

    Args:
        path: the old bag's folder or file.
        out: the new bag's folder; must not exist.

    Returns:
        How many messages were saved.

    Raises:
        BagError: there is nothing to save.
    """
    file, count = _file_of(path), 0
    if out.exists():
        raise BagError(f"{out} is there already; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=out.parent, suffix=".mcap") as whole:
        _copy_whole(file, whole)
        try:
            with Reader(Path(whole.name)) as reader, BagWriter(out) as bag:
                for connection, stamp_ns, data in reader.messages():
                    ext: Any = connection.ext
                    # a file without its index does not tell the hashes
                    definition = Definition(connection.msgtype, connection.msgdef.data, "unknown")
                    bag.write(connection.topic, definition, ext.offered_qos_profiles, data, stamp_ns)
                    count += 1
        except ReaderError as error:
            raise BagError(f"nothing can be saved of {path}: {error}") from error
    return count


def cut_at(file: Path) -> int | None:
    """How many bytes of an MCAP file are whole records of messages; None: it was closed."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BagError(f"{file} is no MCAP file")
        if size > 2 * len(_MAGIC) and _ends_with_magic(stream, size):
            return None
        stream.seek(len(_MAGIC))
        whole = len(_MAGIC)
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            kind, length = _HEAD.unpack(head)
            end = whole + _HEAD.size + length
            if kind == _END or end > size:
                break
            whole = end
            stream.seek(whole)
    return whole


def _ends_with_magic(stream: BinaryIO, size: int) -> bool:
    stream.seek(size - len(_MAGIC))
    return stream.read() == _MAGIC


def _copy_whole(file: Path, target: Any) -> None:
    with open(file, "rb") as source:
        shutil.copyfileobj(source, target)
    if (whole := cut_at(file)) is not None:
        target.seek(whole)
        target.truncate()
        target.write(_TAIL)
    target.flush()


def _file_of(path: Path) -> Path:
    """The bag's first storage file."""
    if path.is_file():
        return path
    files = sorted(path.glob("*.mcap")) + sorted(path.glob("*.db3")) if path.is_dir() else []
    if not files:
        raise BagError(f"there is no bag at {path}; give the folder that `emu-planner bag record` named")
    return files[0]
