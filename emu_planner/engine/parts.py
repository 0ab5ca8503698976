"""What a generation consists of, part by part, in the order in which the model writes it.

Pure values: needs numpy alone, knows no model and no file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GlobalThought:
    """What the model thinks before it answers (published: global_cot); whitespace as written."""

    text: str


@dataclass(frozen=True)
class Words:
    """Words of the answer, up to the next thought or picture; never blank, whitespace as written."""

    text: str


@dataclass(frozen=True)
class ImageThought:
    """What the model thinks before it draws the next picture (published: image_cot)."""

    text: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A whole picture: rgb [H, W, 3] uint8 and the visual codes [h, w] that it was decoded from."""

    rgb: NDArray[np.uint8]
    grid: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Picture)
            and np.array_equal(self.rgb, other.rgb)
            and np.array_equal(self.grid, other.grid)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Progress:
    """Tokens written so far, of at most `limit`; comes between the other parts, and always last."""

    tokens: int
    limit: int


Part = GlobalThought | Words | ImageThought | Picture | Progress
