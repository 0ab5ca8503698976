"""The control that only remembers: the plan of the training scene nearest to this one.

Nearest: most words of the instruction in common, then the most alike start picture. No model.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.step import Keyframe, Step
from sim.camera import VIEWS
from sim.data import EpisodeReader, Record

_THUMB = (48, 24)  # px, width and height


@dataclass
class Neighbours:
    """Start pictures and instructions of training episodes; read once.

    Args:
        folder: as sim/data.py writes it.
        most: episodes that are looked at.
    """

    folder: Path
    most: int = 5000

    def __post_init__(self) -> None:
        self._reader = EpisodeReader(self.folder)
        self._records: list[Record] = []
        thumbs = []
        for record in self._reader:
            if len(self._records) == self.most:
                break
            self._records.append(record)
            thumbs.append(_thumb(self._reader.frame(record, 0)))
        if not self._records:
            raise ValueError(f"{self.folder} holds no episodes; write some with: emu-planner data sim")
        self._thumbs = np.stack(thumbs)
        self._words = [set(record.instruction.lower().split()) for record in self._records]

    def plan(self, instruction: str, picture: NDArray[np.uint8]) -> tuple[Step, ...]:
        """The steps of the nearest episode, with its pictures."""
        wanted = set(instruction.lower().split())
        common = np.array([len(wanted & words) / len(wanted | words) for words in self._words])
        apart = np.abs(self._thumbs - _thumb(picture)).mean(axis=(1, 2, 3))
        # pictures are at most 255 apart: they decide between equally fitting sentences only
        record = self._records[int(np.argmin(apart - 1000.0 * common))]
        return tuple(
            Step(i, words, Keyframe(self._reader.frame(record, i + 1), VIEWS))
            for i, words in enumerate(record.subgoals)
        )


def _thumb(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(picture, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
