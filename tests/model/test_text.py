"""Text tokenizer: golden values of the published one, and the small one that is trained here."""

import json
import os
from pathlib import Path

import pytest

from emu_planner.model.text import TextTokenizer, train_bpe, write_folder

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "text_tokenizer.json"
FULL = os.environ.get("EMU_TOKENIZER_DIR")
TEXTS = [f"put the {colour} block in the bowl" for colour in ("red", "green", "blue")] * 4


@pytest.fixture(scope="module")
def small():
    return TextTokenizer(train_bpe(TEXTS, 60), codes=8)


@pytest.mark.skipif(not FULL, reason="EMU_TOKENIZER_DIR does not name the published tokenizer files")
def test_published_golden_values():
    tokenizer = TextTokenizer.from_folder(FULL)
    for case in json.loads(GOLDEN.read_text()):
        assert tokenizer.encode(case["text"]) == case["ids"]
        assert tokenizer.decode(case["ids"]) == case["decoded"]
        assert tokenizer.decode(case["ids"], skip_special_tokens=True) == case["decoded_skip_special"]


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["text"][:12])
def test_any_text_comes_back_from_a_small_vocabulary(small, case):
    text = case["text"].replace("131071", "000007").replace("000017", "000001").replace("065536", "000000")
    assert small.decode(small.encode(text)) == case["decoded"].replace("131071", "000007").replace(
        "000017", "000001"
    ).replace("065536", "000000")


def test_frequent_words_become_one_token_and_digits_stay_apart(small):
    assert len(small.encode(" the")) == 1
    assert len(small.encode("12*24")) == 5


def test_specials_are_recognised_and_a_code_out_of_range_is_text(small):
    v = small.vocabulary
    ids = small.encode("<|extra_203|>a<|visual token 000007|><|visual token 000008|>")
    assert ids[0] == v.bos
    assert ids[2] == v.first_visual + 7
    assert all(v.is_text(token) for token in ids[3:])


def test_plain_encoding_takes_specials_as_characters(small):
    ids = small.encode_plain("<|extra_101|><|image start|>")
    assert all(small.vocabulary.is_text(token) for token in ids)
    assert small.decode(ids) == "<|extra_101|><|image start|>"


def test_composed_and_decomposed_letters_are_the_same(small):
    assert small.encode("e\u0301") == small.encode("\u00e9")


def test_an_id_outside_is_refused(small):
    with pytest.raises(ValueError, match="outside the vocabulary"):
        small.decode([small.vocabulary.size])


def test_training_is_deterministic_and_bounded():
    ranks = train_bpe(TEXTS, 7)
    assert ranks == train_bpe(list(reversed(TEXTS)), 7)
    assert len(ranks) == 256 + 7
    assert len(train_bpe(["ab"], 100)) == 256  # no pair occurs twice


def test_written_files_read_back(small, tmp_path):
    write_folder(tmp_path, train_bpe(TEXTS, 60), 8)
    again = TextTokenizer.from_folder(tmp_path)
    assert again.vocabulary == small.vocabulary
    assert again.encode(TEXTS[0]) == small.encode(TEXTS[0])
