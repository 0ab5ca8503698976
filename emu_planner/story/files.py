"""Story files. A file is whole or not there: it is written under another name, then renamed."""

import os
from pathlib import Path

from emu_planner.story.codec import from_bytes, to_bytes
from emu_planner.story.errors import StoryError
from emu_planner.story.nouns import Story

__all__ = ["MAX_BYTES", "SUFFIXES", "StoryError", "read", "write"]

# what story files are called
SUFFIXES = (".pb", ".proto", ".bin")
# largest file that is read: a story of 32,768 tokens at 1024 px holds some 20 MB
MAX_BYTES = 512 * 2**20


def read(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Story:
    """The story in a file. Its pictures stay compressed: see unpack_picture.

    Raises:
        StoryError: there is no such file, it is larger than max_bytes, truncated, damaged, or no story.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise StoryError(f"there is no file {path}; give a story written as {', '.join(SUFFIXES)}")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise StoryError(
            f"{path} has {path.stat().st_size} bytes, more than the {max_bytes} that are read; is it a story?"
        )
    try:
        return from_bytes(data)
    except StoryError as error:
        raise StoryError(f"{path} cannot be read as a story: {error}") from error


def write(path: Path | str, story: Story) -> None:
    """Write a story; whoever looks sees the old file or the whole new one, even if this is killed.

    Raises:
        StoryError: a field holds what the form cannot. OSError: the folder cannot be written.
    """
    replace_file(Path(path), to_bytes(story))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under a hidden name beside it, then rename it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
