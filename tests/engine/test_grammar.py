"""The grammar: every token that is not allowed is refused, in every state."""

import copy

import pytest

from emu_planner.engine.grammar import Grammar, Phase
from emu_planner.model.prompt import image_tokens
from emu_planner.model.vocabulary import Vocabulary

RANKS = {bytes([byte]): byte for byte in range(256)}
V = Vocabulary.from_files(RANKS, codes=4)


def allowed(grammar: Grammar) -> set[int]:
    """Every id that may come next, by trying each one on a copy."""
    result = set()
    for token in range(V.size + 2):
        trial = copy.deepcopy(grammar)
        try:
            trial.advance(token)
        except ValueError:
            continue
        result.add(token)
    return result


CODES = set(range(V.first_visual, V.size))
TEXT = set(range(V.first_visual)) - {V.pad, V.bos, V.bss, V.img, V.eoi, V.eol, V.eof, V.tms}
DIGITS = set(range(V.zero, V.zero + 10))


def test_a_fixed_size_image_leaves_no_choice_but_its_codes():
    grammar = Grammar(V, (2, 3))
    code = V.first_visual
    assert allowed(grammar) == TEXT
    image = image_tokens(V, [[0, 1, 2], [3, 0, 1]])
    for token in image:
        expected = allowed(grammar)
        assert token in expected
        if grammar.phase is not Phase.TEXT:
            assert expected == (CODES if token >= code else {token})
        grammar.advance(token)
    assert grammar.phase is Phase.TEXT
    assert grammar.codes_done == 6
    assert allowed(grammar) == TEXT


def test_forced_tokens_come_together_where_they_are_known():
    grammar = Grammar(V, (12, 3))
    grammar.advance(V.boi)
    assert grammar.forced() == [V.zero + 1, V.zero + 2, V.star, V.zero + 3, V.img]
    grammar.advance(V.zero + 1)
    assert grammar.forced() == [V.zero + 2, V.star, V.zero + 3, V.img]


def test_a_size_of_its_own_has_two_digits_a_side():
    grammar = Grammar(V)
    grammar.advance(V.boi)
    steps = [
        (V.zero + 1, DIGITS - {V.zero}),
        (V.zero + 0, DIGITS),
        (V.star, {V.star}),
        (V.zero + 1, DIGITS - {V.zero}),
        (V.zero + 2, DIGITS),
        (V.img, {V.img}),
    ]
    for token, expected in steps:
        assert allowed(grammar) == expected
        grammar.advance(token)
    assert grammar.size == (10, 12)
    assert allowed(grammar) == CODES


def write_image(grammar, size):
    for token in image_tokens(V, [[0] * size[1]] * size[0]):
        grammar.advance(token)


def test_the_first_size_holds_for_later_images_unless_told_otherwise():
    same, free = Grammar(V), Grammar(V, same_size=False)
    for grammar in (same, free):
        write_image(grammar, (10, 11))
        grammar.advance(V.boi)
    assert same.forced() == [*V.number(10), V.star, *V.number(11), V.img]
    assert free.forced() == []
    assert allowed(free) == DIGITS - {V.zero}


def test_a_fixed_size_stays_with_free_sizes_too():
    grammar = Grammar(V, (1, 2), same_size=False)
    write_image(grammar, (1, 2))
    grammar.advance(V.boi)
    assert grammar.forced() == [V.zero + 1, V.star, V.zero + 2, V.img]


def test_a_size_without_tokens_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        Grammar(V, (0, 4))
