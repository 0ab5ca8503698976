"""The token stream of one answer read as parts: thoughts, words, pictures.

What counts as a part, and what is dropped, is as published (multimodal_decode), but told by token
ids: characters that merely spell a special token stay words. Knows no model; pictures come from a
function it is given.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from emu_planner.engine.grammar import Phase
from emu_planner.engine.parts import GlobalThought, ImageThought, Part, Picture, Progress, Words
from emu_planner.engine.raster import Draft, Token
from emu_planner.model.prompt import Grid
from emu_planner.model.text import TextTokenizer

# Progress is told this often between pictures; inside one, after each row.
_PROGRESS_TOKENS = 16
_Text = type[GlobalThought] | type[Words] | type[ImageThought]


class AnswerReader:
    """Reads the tokens of one answer.

    Args:
        tokenizer: of the model that writes them.
        draw: rgb [H, W, 3] uint8 of a grid of codes [h, w].
        limit: most tokens to read.
    """

    def __init__(
        self, tokenizer: TextTokenizer, draw: Callable[[Grid], NDArray[np.uint8]], limit: int
    ) -> None:
        v = tokenizer.vocabulary
        self._tokenizer, self._draw, self._limit = tokenizer, draw, limit
        self._opens: dict[int, _Text] = {v.bog: GlobalThought, v.boc: ImageThought}
        self._closes: dict[int, _Text] = {v.eog: GlobalThought, v.eoc: ImageThought}
        # where they stand they say nothing: the published reader takes them out of the text
        self._silent = {v.ess, v.eos}
        self._kind: _Text = Words
        self._text: list[int] = []
        self._rows: list[list[int]] = [[]]

    def read(self, tokens: Iterator[Token | Draft]) -> Iterator[Part]:
        """Parts as soon as they are whole; an unfinished picture and blank words are dropped."""
        count = told = 0
        for token in tokens:
            if isinstance(token, Draft):
                yield Progress(count, self._limit)
                continue
            count += 1
            text = token.phase is Phase.TEXT
            yield from (self._take_text if text else self._take_image)(token)
            row_ends = token.phase is Phase.IMAGE and not self._is_code(token)
            if row_ends or (text and count - told >= _PROGRESS_TOKENS):
                told = count
                yield Progress(count, self._limit)
            if count == self._limit:
                break
        last = list(self._close_words())
        yield from last
        if last or told != count or not count:
            yield Progress(count, self._limit)

    def _take_text(self, token: Token) -> Iterator[Part]:
        if token.id in self._opens:
            yield from self._close_words()
            self._kind = self._opens[token.id]
        elif token.id in self._closes:
            if self._kind is self._closes[token.id]:
                yield self._kind(self._tokenizer.decode(self._text))
                self._kind, self._text = Words, []
        elif token.id == self._tokenizer.vocabulary.boi:
            yield from self._close_words()
            self._rows = [[]]
        elif token.id not in self._silent:
            self._text.append(token.id)

    def _take_image(self, token: Token) -> Iterator[Part]:
        v = self._tokenizer.vocabulary
        if self._is_code(token):
            self._rows[-1].append(token.id - v.first_visual)
        elif token.id == v.eol:
            self._rows.append([])
        elif token.id == v.eoi:
            grid = np.array(self._rows, np.int64)
            yield Picture(self._draw(grid), grid)

    def _close_words(self) -> Iterator[Part]:
        """The text so far as words; a thought that was not ended counts as words too."""
        text = self._tokenizer.decode(self._text)
        self._kind, self._text = Words, []
        if text.strip():
            yield Words(text)

    def _is_code(self, token: Token) -> bool:
        return token.id >= self._tokenizer.vocabulary.first_visual
