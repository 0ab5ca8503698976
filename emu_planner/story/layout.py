"""A story as numbered files, named as the published viewer names them.

    000_question.txt, 000_global_cot.txt    what was asked, the thought before the first step
    000_reference_image.png, 001_...        pictures that came with the question
    001_text.txt                            the words of a step
    001_00_image_cot.txt, 001_00_image.png  the thought before its first picture, and the picture

Steps count on after the references, from 1 if there are none or one: so no number names both a
reference and a step. What is empty has no file. Knows no page and no video: they show these items.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.story.errors import StoryError
from emu_planner.story.images import measure, pack_picture, unpack_picture
from emu_planner.story.nouns import Image, ImageFormat, Story

_QUESTION = "000_question.txt"
# what a story's folder may hold of ours; nothing else is ever removed
_OURS = re.compile(
    r"\d{3,}_(question|global_cot|text)\.txt|\d{3,}_reference_image\.png"
    r"|\d{3,}_\d\d+_image(\.png|_cot\.txt)|index\.html|video\.mp4|thumbnail\.jpg"
)


class Kind(Enum):
    """What an item of a story is."""

    QUESTION = "question"
    REFERENCE = "reference"
    THOUGHT = "thought"  # before the first step
    WORDS = "words"
    IMAGE_THOUGHT = "image thought"
    PICTURE = "picture"


@dataclass(frozen=True)
class Item:
    """One thing to show, in the order of the story."""

    kind: Kind
    # its file
    name: str
    # the number of its step, 1 and on; 0: it belongs to the question
    step: int = 0
    # its words; or why its picture cannot be shown
    text: str = ""
    # its picture, which can be decoded, compressed as the story holds it
    image: Image | None = None
    # size of the picture, px
    width: int = 0
    height: int = 0

    @property
    def is_picture(self) -> bool:
        """Whether it is, or should have been, a picture."""
        return self.kind in (Kind.PICTURE, Kind.REFERENCE)

    def rgb(self) -> NDArray[np.uint8]:
        """The picture, [H, W, 3] uint8. StoryError: it cannot be shown."""
        if self.image is None:
            raise StoryError(self.text)
        return unpack_picture(self.image)


def lay_out(story: Story) -> Iterator[Item]:
    """The items of a story; one whose picture is damaged stays, and says why in words.

    Every picture is decoded, to see whether it can be, and let go: many large ones fit into memory.
    """
    yield Item(Kind.QUESTION, _QUESTION, text=story.question)
    for index, meta in enumerate(story.reference_images):
        if meta.image is not None:
            yield _show_picture(Kind.REFERENCE, f"{index:03d}_reference_image.png", 0, meta.image)
    if story.summary.strip():
        yield Item(Kind.THOUGHT, "000_global_cot.txt", text=story.summary)
    first = max(1, len(story.reference_images))
    for step, segment in enumerate(story.segments(), start=1):
        number = f"{first + step - 1:03d}"
        if segment.asr.strip():
            yield Item(Kind.WORDS, f"{number}_text.txt", step, segment.asr)
        for index, meta in enumerate(segment.images):
            name = f"{number}_{index:02d}_image"
            if meta.chain_of_thought.strip():
                yield Item(Kind.IMAGE_THOUGHT, f"{name}_cot.txt", step, meta.chain_of_thought)
            if meta.image is not None:
                yield _show_picture(Kind.PICTURE, f"{name}.png", step, meta.image)


def write_item(item: Item, folder: Path) -> None:
    """Write the item's file; a picture as it is if it is PNG. OSError: the folder cannot be written."""
    path = folder / item.name
    if not item.is_picture:
        path.write_text(item.text + "\n", encoding="utf-8")
    elif item.image is not None:
        is_png = measure(item.image.image_data)[0] is ImageFormat.PNG
        path.write_bytes((item.image if is_png else pack_picture(item.rgb())).image_data)


def remove_old(folder: Path) -> None:
    """Remove what an earlier call wrote into the folder, so that no part of another story stays.

    A folder without a question was not written by one, and keeps what it has.
    """
    if not (folder / _QUESTION).is_file():
        return
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.is_file():
            path.unlink()


def thumbnail(item: Item, longest: int = 320) -> NDArray[np.uint8]:
    """The picture, rgb, made smaller if its longest side is above `longest` px."""
    share = min(1.0, longest / max(item.height, item.width))
    size = max(1, round(item.width * share)), max(1, round(item.height * share))
    return np.asarray(cv2.resize(item.rgb(), size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _show_picture(kind: Kind, name: str, step: int, image: Image) -> Item:
    try:
        height, width = unpack_picture(image).shape[:2]
    except StoryError as error:
        return Item(kind, name, step, str(error))
    return Item(kind, name, step, image=image, width=width, height=height)
