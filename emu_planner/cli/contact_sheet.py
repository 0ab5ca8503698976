"""One picture of a whole run: a row a step, with camera, imagined keyframe and what really happened.

Drawn with OpenCV alone, whose letters are ASCII. Knows no ROS and no file.
"""

import cv2
import numpy as np

from emu_planner.cli.pictures import Rgb
from emu_planner.cli.record import DemoRecord, StepRecord, outcome_words, seconds_words

_HEADINGS = ("camera", "imagined keyframe", "what really happened")
_PICTURE_HEIGHT = 192  # px
_MARGIN, _GAP, _WORDS_WIDTH = 28, 14, 270  # px
_PAPER, _INK, _FAINT, _EMPTY = (250, 249, 246), (32, 33, 36), (124, 126, 132), (232, 231, 226)
_IMAGINED = (126, 74, 190)
_STATE_COLOURS = {"succeeded": (24, 128, 56), "failed": (196, 43, 28), "expired": (196, 43, 28)}
_FONT = cv2.FONT_HERSHEY_DUPLEX


def draw_contact_sheet(record: DemoRecord) -> Rgb:
    """The sheet, rgb [H, W, 3]."""
    width = _picture_width(record)
    columns = [_MARGIN + _WORDS_WIDTH + _GAP + i * (width + _GAP) for i in range(len(_HEADINGS))]
    sheet_width = columns[-1] + width + _MARGIN
    title = _wrap(record.task, sheet_width - 2 * _MARGIN, 0.95)
    top = _MARGIN + 34 * len(title) + 52
    height = top + 30 + max(len(record.steps), 1) * (_PICTURE_HEIGHT + _GAP) + _MARGIN
    sheet = np.full((height, sheet_width, 3), _PAPER, np.uint8)
    for line, text in enumerate(title):
        _write(sheet, text, (_MARGIN, _MARGIN + 24 + 34 * line), 0.95, _INK)
    _write(sheet, _summary(record), (_MARGIN, _MARGIN + 34 * len(title) + 22), 0.5, _FAINT)
    for heading, x in zip(_HEADINGS, columns, strict=True):
        colour = _IMAGINED if heading == _HEADINGS[1] else _FAINT
        _write(sheet, heading, (x, top + 16), 0.55, colour)
    for row, step in enumerate(record.steps):
        y = top + 30 + row * (_PICTURE_HEIGHT + _GAP)
        _draw_words(sheet, step, y)
        unseen = "not executed" if not record.executed else "no picture"
        pictures = ((step.before, "no picture"), (step.keyframe, "no keyframe"), (step.after, unseen))
        for x, (picture, missing) in zip(columns, pictures, strict=True):
            _paste(sheet, picture, (x, y), width, missing, _views(picture, step))
        if step.keyframe is not None:
            corner = (columns[1] + width - 1, y + _PICTURE_HEIGHT - 1)
            cv2.rectangle(sheet, (columns[1], y), corner, _IMAGINED, 2)
    return sheet


def _picture_width(record: DemoRecord) -> int:
    """Width of the widest picture, all being equally high."""
    pictures = [p for s in record.steps for p in (s.before, s.keyframe, s.after) if p is not None]
    shapes = [p.shape for p in pictures] or [(1, 2)]
    return min(640, max(round(_PICTURE_HEIGHT * shape[1] / shape[0]) for shape in shapes))


def _summary(record: DemoRecord) -> str:
    times = (
        f"first words {seconds_words(record.first_words_s)}",
        f"first keyframe {seconds_words(record.first_keyframe_s)}",
        f"whole plan {seconds_words(record.plan_s)}",
    )
    return "   |   ".join((record.source, record.planner, *times, record.verdict))


def _draw_words(sheet: Rgb, step: StepRecord, y: int) -> None:
    """Number, words, state and time, down the left column."""
    _write(sheet, str(step.index + 1), (_MARGIN, y + 30), 1.0, _FAINT)
    left, line = _MARGIN + 48, y + 22
    for text in _wrap(step.words, _WORDS_WIDTH - 48, 0.6)[:4]:
        _write(sheet, text, (left, line), 0.6, _INK)
        line += 24
    line += 6
    colour = _STATE_COLOURS.get(step.state, _FAINT)
    for text in _wrap(outcome_words(step), _WORDS_WIDTH - 48, 0.48)[:3]:
        _write(sheet, text, (left, line), 0.48, colour)
        line += 18
    times = [f"planned in {seconds_words(step.planned_s)}"]
    if step.executed_s is not None:
        times.append(f"executed in {seconds_words(step.executed_s)}")
    for text in times:
        _write(sheet, text, (left, line), 0.48, _FAINT)
        line += 18


def _views(picture: Rgb | None, step: StepRecord) -> int:
    """How many views a picture shows: as many as the keyframe when it has the same shape."""
    if picture is None or step.keyframe is None:
        return 1
    aspect, known = (p.shape[1] / p.shape[0] for p in (picture, step.keyframe))
    return step.views if abs(aspect / known - 1) < 0.02 else 1


def _paste(
    sheet: Rgb, picture: Rgb | None, at: tuple[int, int], width: int, missing: str, views: int
) -> None:
    """The picture, as large as fits, in the middle of its box; words where there is none."""
    x, y = at
    box = sheet[y : y + _PICTURE_HEIGHT, x : x + width]
    box[:] = _EMPTY
    if picture is None:
        size = cv2.getTextSize(missing, _FONT, 0.5, 1)[0][0]
        _write(sheet, missing, (x + (width - size) // 2, y + _PICTURE_HEIGHT // 2 + 5), 0.5, _FAINT)
        return
    height, own = picture.shape[:2]
    scale = min(width / own, _PICTURE_HEIGHT / height)
    size_px = (max(1, round(own * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (width - size_px[0]) // 2, (_PICTURE_HEIGHT - size_px[1]) // 2
    box[top : top + size_px[1], left : left + size_px[0]] = small
    for view in range(1, views):
        edge = left + size_px[0] * view // views
        box[top : top + size_px[1], edge - 1 : edge + 1] = _PAPER


def _wrap(text: str, width: int, scale: float) -> list[str]:
    """Lines of at most `width` px; a word that is longer stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and cv2.getTextSize(longer, _FONT, scale, 1)[0][0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _write(sheet: Rgb, text: str, at: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(sheet, ascii_text, at, _FONT, scale, colour, 1, cv2.LINE_AA)
