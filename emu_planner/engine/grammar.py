"""The grammar of text and images as a machine over token ids.

    TEXT --BOI--> SIZE --h * w IMG--> IMAGE --row EOL row ... EOI--> TEXT

At every moment either one token is forced, or a token is chosen from one range of ids, so a
malformed image cannot be written. Rules and masks: the published Emu3.5 logits processor. Knows no
model and no sampling.
"""

import copy
from dataclasses import dataclass
from enum import Enum

from emu_planner.model.prompt import size_tokens
from emu_planner.model.vocabulary import Vocabulary

# A size that the model chooses has two digits a side; the star is between them.
_DIGITS = 2


class Phase(Enum):
    """Which part of the output the next token belongs to."""

    TEXT = "text"
    SIZE = "size"
    IMAGE = "image"


@dataclass(frozen=True)
class Choice:
    """Ids that may come next: first <= id < stop, without `forbidden`."""

    first: int
    stop: int
    forbidden: tuple[int, ...] = ()

    def __contains__(self, token: int) -> bool:
        return self.first <= token < self.stop and token not in self.forbidden


class Grammar:
    """What may come next, given what came so far. Starts in TEXT.

    Args:
        vocabulary: layout of the ids.
        size: (h, w) in tokens of every image; None: the model chooses, two digits a side.
        same_size: a size that the model chose holds for all later images.
    """

    def __init__(
        self, vocabulary: Vocabulary, size: tuple[int, int] | None = None, *, same_size: bool = True
    ) -> None:
        if size is not None and min(size) < 1:
            raise ValueError(f"image size is {size}; expected 1 or more tokens a side")
        self.phase = Phase.TEXT
        # (h, w) of the image that is being written, or of every image
        self.size = size
        # visual codes written of the present image
        self.codes_done = 0
        self._vocabulary = vocabulary
        self._fixed, self._same_size = size is not None, same_size
        self._header: list[int] = []  # size tokens of the present image
        self._filled = 0  # tokens since IMG, row ends included
        v = vocabulary
        # Specials are text tokens too, but for those that mean something only elsewhere.
        stray = (v.pad, v.bos, v.bss, v.img, v.eoi, v.eol, v.eof, v.tms)
        self._text = Choice(0, v.first_visual, stray)
        # id of what ends a row of an image
        self.row_end = v.eol
        # ids of visual codes
        self.visual = Choice(v.first_visual, v.first_visual + v.codes)
        self._first_digit = Choice(v.zero + 1, v.zero + 10)
        self._digit = Choice(v.zero, v.zero + 10)

    def forced(self) -> list[int]:
        """Tokens that must come next, in order; empty when there is a choice."""
        v = self._vocabulary
        if self.phase is Phase.SIZE:
            if self.size is not None:
                return size_tokens(v, *self.size)[len(self._header) :]
            if len(self._header) == _DIGITS:
                return [v.star]
            return [v.img] if len(self._header) == 2 * _DIGITS + 1 else []
        if self.phase is Phase.IMAGE and self.size is not None:
            height, width = self.size
            if self._filled == height * (width + 1) - 1:
                return [v.eoi]
            if self._filled % (width + 1) == width:
                return [v.eol]
        return []

    def choice(self) -> Choice:
        """What the next token is chosen from, when none is forced."""
        if self.phase is Phase.TEXT:
            return self._text
        if self.phase is Phase.IMAGE:
            return self.visual
        return self._first_digit if len(self._header) in (0, _DIGITS + 1) else self._digit

    def advance(self, token: int) -> None:
        """Take the next token.

        Raises:
            ValueError: the grammar does not allow it here.
        """
        forced = self.forced()
        if token != forced[0] if forced else token not in self.choice():
            expected = f"token {forced[0]}" if forced else str(self.choice())
            raise ValueError(f"token {token} in {self.phase.value}: expected {expected}")
        v = self._vocabulary
        if self.phase is Phase.TEXT:
            if token == v.boi:
                self._open()
        elif self.phase is Phase.SIZE:
            if token == v.img:
                self._close_header()
            else:
                self._header.append(token)
        elif token == v.eoi:
            self.phase = Phase.TEXT
        else:
            self._filled += 1
            self.codes_done += token != v.eol

    def _open(self) -> None:
        self.phase = Phase.SIZE
        self._header, self._filled, self.codes_done = [], 0, 0
        if not (self._fixed or self._same_size):
            self.size = None

    def _close_header(self) -> None:
        star = self._header.index(self._vocabulary.star)
        digits = [token - self._vocabulary.zero for token in self._header]
        self.size = _number(digits[:star]), _number(digits[star + 1 :])
        self.phase = Phase.IMAGE


def forced_after_codes(grammar: Grammar) -> list[list[int]]:
    """For each code of the image that begins, the forced tokens after it."""
    walk = copy.copy(grammar)
    tails = []
    while walk.phase is Phase.IMAGE:
        walk.advance(walk.choice().first)
        tail = []
        while forced := walk.forced():
            tail += forced
            for token in forced:
                walk.advance(token)
        tails.append(tail)
    return tails


def _number(digits: list[int]) -> int:
    return int("".join(map(str, digits)))
