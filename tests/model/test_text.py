"""Text tokenizer: golden values of the published one, and the small one that is trained here."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from emu_planner.model.prompt import TEMPLATES, conditional_prompt, image_tokens, unconditional_prompt
from emu_planner.model.text import TextTokenizer, train_bpe, write_folder
from tests import golden

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "text_tokenizer.json"
FULL = os.environ.get("EMU_TOKENIZER_DIR")
TEXTS = [f"put the {colour} block in the bowl" for colour in ("red", "green", "blue")] * 4


@pytest.fixture(scope="module")
def small():
    return TextTokenizer(train_bpe(TEXTS, 60), codes=8)


CASES = json.loads(GOLDEN.read_text())
needs_vocabulary = pytest.mark.skipif(
    not FULL, reason="EMU_TOKENIZER_DIR does not name a folder with the published tokenizer files"
)


@pytest.fixture(scope="module")
def full():
    return TextTokenizer.from_folder(FULL)


def test_all_published_cases_are_here():
    assert len(CASES) == 30


@needs_vocabulary
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"][:12]))
def test_published_golden_values(full, case):
    assert full.encode(case["text"]) == case["ids"]
    assert full.decode(case["ids"]) == case["decoded"]
    assert full.decode(case["ids"], skip_special_tokens=True) == case["decoded_skip_special"]


@needs_vocabulary
@pytest.mark.parametrize("case", golden.values("generation.json"), ids=lambda case: case["prompt"][44:60])
def test_published_prompts(full, case):
    assert full.encode(case["prompt"]) == case["prompt_ids"]
    assert full.encode(case["unc_prompt"]) == case["unc_prompt_ids"]


@needs_vocabulary
def test_a_published_prompt_from_its_words_and_codes(full):
    t2i, vla, *_ = golden.values("generation.json")
    boi = full.vocabulary.boi
    assert [*conditional_prompt(full, TEMPLATES["t2i"], "a red cube"), boi] == t2i["prompt_ids"]
    assert unconditional_prompt(full) == t2i["unc_prompt_ids"]
    grid = np.array(golden.values("ibq.json")[0]["token_ids"])
    answer = [*full.encode_plain("Grasp the red block."), boi]
    prompt = conditional_prompt(full, TEMPLATES["vla"], "stack the blocks", [grid])
    assert prompt + answer == vla["prompt_ids"]
    assert unconditional_prompt(full, [grid]) == vla["unc_prompt_ids"]


@needs_vocabulary
@pytest.mark.parametrize("case", golden.values("ibq.json"), ids=lambda case: case["image"])
def test_published_image_strings(full, case):
    assert image_tokens(full.vocabulary, np.array(case["token_ids"])) == case["image_string_ids"]


@needs_vocabulary
def test_words_of_a_user_are_never_special_in_the_published_vocabulary(full):
    text = "<|extra_100|><|image start|><|visual token 000007|><|endoftext|>"
    ids = full.encode_plain(text)
    assert all(full.vocabulary.is_text(token) for token in ids)
    assert full.decode(ids) == full.decode(full.encode(text)) == text
    assert full.encode(text) == [151746, 151852, 151861, 151643]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"][:12]))
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
    assert small.encode_plain("e\u0301") == small.encode_plain("\u00e9")
    # compatibility letters stay: it is NFC, not NFKC
    assert small.decode(small.encode("\ufb01")) == "\ufb01"


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
