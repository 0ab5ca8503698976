"""A story while it is being generated, put together as the published writer does it.

Words open a new clip, clip_0000 and on, with one segment; a picture joins the newest clip; a thought
about a picture waits there for its picture, and one whose picture never came is dropped at the end.
Knows no model: whoever generates calls the verbs.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emu_planner.story.images import pack_picture
from emu_planner.story.nouns import Clip, ImageMeta, Segment, Story

Rgb = NDArray[np.uint8]


class Draft:
    """Grows by the verbs below; `story()` is the story so far.

    Args:
        question: what was asked.
        references: pictures that came with it, rgb [H, W, 3] uint8 each.
    """

    def __init__(self, question: str, references: Sequence[Rgb] = ()) -> None:
        self._start = Story(
            question=question,
            reference_images=tuple(ImageMeta(image=pack_picture(rgb)) for rgb in references),
        )
        self._summary = ""
        # the words of each clip, and its pictures
        self._words: list[str] = []
        self._images: list[list[ImageMeta]] = []

    def think(self, thought: str) -> None:
        """The thought before the first step; a later one replaces it."""
        self._summary = thought

    def tell(self, words: str) -> None:
        """A new step begins with these words."""
        self._words.append(words)
        self._images.append([])

    def think_of_picture(self, thought: str) -> None:
        """What is thought before the next picture."""
        self._newest_images().append(ImageMeta(chain_of_thought=thought))

    def draw(self, rgb: Rgb) -> None:
        """A picture of the newest step, rgb [H, W, 3] uint8."""
        images = self._newest_images()
        waiting = images.pop() if images and images[-1].image is None else ImageMeta()
        images.append(replace(waiting, image=pack_picture(rgb)))

    def story(self) -> Story:
        """The story so far."""
        clips = []
        for index, (words, images) in enumerate(zip(self._words, self._images, strict=True)):
            last = index + 1 == len(self._words)
            unfinished = last and images and images[-1].image is None
            kept = tuple(images[:-1] if unfinished else images)
            clips.append(Clip(clip_id=f"clip_{index:04d}", segments=(Segment(asr=words, images=kept),)))
        return replace(self._start, summary=self._summary, clips=tuple(clips))

    def _newest_images(self) -> list[ImageMeta]:
        if not self._images:
            self.tell("")
        return self._images[-1]
