"""A story as a video: cards with its words, and its pictures, one frame a second.

Thoughts are left out. Codec: VP9 in MP4, which browsers play and OpenCV's own build can write;
MPEG-4 part 2 where that is missing. (The published viewer writes H.264, for which OpenCV's packages
have no encoder.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.story.errors import StoryError
from emu_planner.story.layout import Item, Kind

Bgr = NDArray[np.uint8]
CODECS = {"vp09": "VP9", "mp4v": "MPEG-4 part 2"}
_SHOWN = (Kind.QUESTION, Kind.REFERENCE, Kind.WORDS, Kind.PICTURE)
_PAPER, _INK, _FAINT = (24, 23, 23), (234, 233, 233), (163, 156, 154)


@dataclass(frozen=True)
class VideoConfig:
    """How a story becomes a video."""

    # frames a second; a card that takes longer to read holds several
    fps: float = 1.0
    # how long a picture stays, s
    picture_s: float = 2.0
    # words read in a second; no card is shorter than a picture
    words_a_second: float = 3.0
    # smallest and largest frame, px (width, height); in between the pictures decide
    smallest: tuple[int, int] = (960, 720)
    largest: tuple[int, int] = (1920, 1440)

    def __post_init__(self) -> None:
        if min(self.fps, self.picture_s, self.words_a_second) <= 0:
            raise ValueError(
                f"fps is {self.fps}, picture_s {self.picture_s}, words_a_second {self.words_a_second}; "
                "expected more than 0"
            )


def write_video(items: Sequence[Item], path: Path, config: VideoConfig | None = None) -> str:
    """Write the video; returns the name of its codec.

    Raises:
        StoryError: this OpenCV can write no such video. OSError: the file cannot be written.
    """
    config = config or VideoConfig()
    if not hasattr(cv2, "FontFace"):
        raise StoryError(f"a video needs OpenCV 5 for its text; this is {cv2.__version__}")
    size = _frame_size(items, config)
    path.unlink(missing_ok=True)
    writer, codec = _open_writer(path, size, config.fps)
    for frame, seconds in _frames(items, size, config):
        for _ in range(max(1, round(seconds * config.fps))):
            writer.write(frame)
    writer.release()
    if not path.is_file() or not path.stat().st_size:
        raise OSError(f"{path} was not written; is there room on the disk?")
    return codec


def _open_writer(path: Path, size: tuple[int, int], fps: float) -> tuple[Any, str]:
    """A writer with the first codec that this OpenCV has, and the codec's name."""
    for code, name in CODECS.items():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size)
        if writer.isOpened():
            return writer, name
    raise StoryError(f"{path} cannot be written: OpenCV has no encoder of {list(CODECS.values())}")


def _frame_size(items: Sequence[Item], config: VideoConfig) -> tuple[int, int]:
    """Room for the largest picture, inside the limits; even numbers, as codecs want."""
    shapes = [(item.width, item.height) for item in items]
    limits = zip(config.smallest, config.largest, strict=True)
    width, height = (
        min(high, max([low, *(shape[axis] for shape in shapes)])) // 2 * 2
        for axis, (low, high) in enumerate(limits)
    )
    return width, height


def _frames(items: Sequence[Item], size: tuple[int, int], config: VideoConfig) -> Iterator[tuple[Bgr, float]]:
    """Each frame, and for how many seconds it stays."""
    for item in items:
        if item.kind not in _SHOWN:
            continue
        if item.image is not None:
            yield fit_picture(item.rgb(), size), config.picture_s
            continue
        title = (
            "Question" if item.kind is Kind.QUESTION else f"Step {item.step}" if item.step else "Reference"
        )
        for card, words in draw_cards(title, item.text.strip(), size):
            yield card, max(config.picture_s, words / config.words_a_second)


def fit_picture(rgb: NDArray[np.uint8], size: tuple[int, int]) -> Bgr:
    """The picture as large as it fits into (width, height), whole, on a dark ground."""
    height, width = rgb.shape[:2]
    share = min(size[0] / width, size[1] / height)
    fitted = (max(1, round(width * share)), max(1, round(height * share)))
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    frame = np.full((size[1], size[0], 3), _PAPER, np.uint8)
    left, top = (size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2
    bgr = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), fitted, interpolation=how)
    frame[top : top + fitted[1], left : left + fitted[0]] = bgr
    return frame


def draw_cards(title: str, text: str, size: tuple[int, int]) -> Iterator[tuple[Bgr, int]]:
    """Cards of (width, height) with all of the text, each with how many words it holds."""
    width, height = size
    margin, letter = width // 12, max(18, height // 24)
    line = round(letter * 1.6)
    font = cv2.FontFace("uni")  # the one of OpenCV's own that also writes Chinese
    lines = wrap(_clean(text), width - 2 * margin, font, letter)
    room = max(1, (height - 3 * margin) // line)
    for begin in range(0, len(lines), room):
        part = lines[begin : begin + room]
        card = np.full((height, width, 3), _PAPER, np.uint8)
        cv2.putText(card, title, (margin, margin), _FAINT, font, letter * 3 // 4, 400)
        for index, row in enumerate(part):
            cv2.putText(card, row, (margin, margin * 2 + index * line), _INK, font, letter, 400)
        yield card, sum(_count_words(row) for row in part)


def wrap(text: str, width: int, font: Any, letter: int) -> list[str]:
    """Lines of at most `width` px: broken at spaces, or anywhere in a word that is too long."""
    lines = []
    for paragraph in text.splitlines() or [""]:
        row = ""
        for word in paragraph.split(" "):
            joined = f"{row} {word}" if row else word
            if _width(joined, font, letter) <= width:
                row = joined
                continue
            if row and _width(word, font, letter) <= width:
                lines.append(row)
                row = word
                continue
            for sign in f" {word}" if row else word:
                if row and _width(row + sign, font, letter) > width:
                    lines.append(row)
                    row = sign.strip()
                else:
                    row += sign
        lines.append(row)
    return lines


def _clean(text: str) -> str:
    """The text without signs that steer: OpenCV ends a line at a NUL."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def _width(text: str, font: Any, letter: int) -> int:
    box = cv2.getTextSize((0, 0), text, (0, 0), font, letter, 400)
    return int(box[0] + box[2])


def _count_words(row: str) -> int:
    """Words of a line; where words have no spaces between them, every two signs are one."""
    return sum(1 if word.isascii() else (len(word) + 1) // 2 for word in row.split())
