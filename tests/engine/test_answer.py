"""A token stream read as parts: what is a part, what is dropped, and when progress is told."""

import numpy as np
import pytest

from emu_planner.engine.answer import AnswerReader
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.parts import GlobalThought, ImageThought, Picture, Progress, Words
from emu_planner.engine.raster import Token
from emu_planner.model.prompt import image_tokens
from emu_planner.model.text import TextTokenizer

TOKENIZER = TextTokenizer({bytes([byte]): byte for byte in range(256)}, codes=8)
V = TOKENIZER.vocabulary
GRID = np.array([[1, 2, 3], [4, 5, 6]])
IMAGE = TOKENIZER.decode(image_tokens(V, GRID))
BOG, EOG, BOC, EOC, ESS, EOS = (f"<|extra_{n}|>" for n in (60, 61, 50, 51, 101, 204))


def draw(grid):
    """A picture that tells its grid: one pixel a code."""
    return np.repeat(grid[..., None], 3, axis=2).astype(np.uint8)


def read(text, limit=10_000, ids=None):
    """All parts of an answer, tokens labelled with their phases as the decoder labels them."""
    grammar, tokens = Grammar(V), []
    for token in TOKENIZER.encode(text) if ids is None else ids:
        phase = grammar.phase
        if token == V.boi:
            grammar.size = GRID.shape
        grammar.advance(token)
        tokens.append(Token(token, phase))
    return list(AnswerReader(TOKENIZER, draw, limit).read(iter(tokens)))


def parts(text, **more):
    return [part for part in read(text, **more) if not isinstance(part, Progress)]


PICTURE = Picture(draw(GRID), GRID)


def test_thoughts_words_and_pictures_in_their_order():
    text = f"{BOG}a plan{EOG}Step 1: \n{BOC}a pot{EOC}{IMAGE}Step 2.{BOC}an egg{EOC}{IMAGE}{ESS}{EOS}"
    assert parts(text) == [
        GlobalThought("a plan"),
        Words("Step 1: \n"),
        ImageThought("a pot"),
        PICTURE,
        Words("Step 2."),
        ImageThought("an egg"),
        PICTURE,
    ]


def test_pictures_may_follow_each_other_and_come_first():
    assert parts(IMAGE + IMAGE + "end") == [PICTURE, PICTURE, Words("end")]


def test_blank_words_are_dropped_and_other_white_space_stays():
    assert parts(f" \n{IMAGE}\n\n{ESS}{EOS}") == [PICTURE]
    assert parts(" a \n") == [Words(" a \n")]


def test_thoughts_span_lines_and_may_be_empty():
    assert parts(f"{BOG}one\ntwo{EOG}{BOC}{EOC}") == [GlobalThought("one\ntwo"), ImageThought("")]


@pytest.mark.parametrize("cut", range(1, len(image_tokens(V, GRID))))
def test_an_unfinished_picture_is_dropped(cut):
    ids = [*TOKENIZER.encode("go"), *image_tokens(V, GRID)[:cut]]
    assert parts("", ids=ids) == [Words("go")]


def test_an_unfinished_thought_counts_as_words():
    assert parts(f"{BOC}a pot") == [Words("a pot")]
    assert parts(f"{BOG}a pot{IMAGE}b") == [Words("a pot"), PICTURE, Words("b")]
    assert parts(f"{BOG}a{BOC}b{EOC}") == [Words("a"), ImageThought("b")]


def test_a_mark_that_closes_nothing_says_nothing():
    assert parts(f"a{EOG}b{EOC}") == [Words("ab")]
    assert parts(f"{BOG}a{EOC}b{EOG}") == [GlobalThought("ab")]


def test_end_marks_are_taken_out_and_other_specials_stay_as_published():
    assert parts(f"a{ESS}b<|extra_7|>{EOS}") == [Words("ab<|extra_7|>")]


def test_words_that_only_spell_a_special_token_stay_words():
    spelled = f"{BOG}not a thought{EOG}<|image start|>2*3"
    assert parts("", ids=TOKENIZER.encode_plain(spelled)) == [Words(spelled)]


def test_letters_of_several_tokens_are_whole():
    assert parts("\u7ea2\u8272") == [Words("\u7ea2\u8272")]
    half = TOKENIZER.encode("\u7ea2")[:2]
    assert parts("", ids=half) == [Words("\ufffd")]


def test_progress_is_told_in_words_and_after_each_row_and_at_the_end():
    told = [part for part in read("x" * 40 + IMAGE + "yz", limit=99) if isinstance(part, Progress)]
    header = len("B2*3I")
    row = 3 + 1
    counts = [16, 32, 40 + header + row, 40 + header + 2 * row, 40 + header + 2 * row + 2]
    assert told == [Progress(count, 99) for count in counts]


def test_the_last_part_is_progress_and_comes_once():
    for text in ("", "x", "x" * 16, IMAGE):
        found = read(text)
        assert isinstance(found[-1], Progress)
        assert len(found) == 1 or found[-1] != found[-2]


def test_the_limit_is_exact_and_no_further_token_is_asked_for():
    def endless():
        for _ in range(10):
            yield Token(ord("x"), Grammar(V).phase)
        raise AssertionError("the reader went on after its limit")

    assert list(AnswerReader(TOKENIZER, draw, 10).read(endless())) == [Words("x" * 10), Progress(10, 10)]
