"""Prompts, answers and training sequences have the published form."""

import numpy as np
import pytest

from emu_planner.model.prompt import (
    TEMPLATES,
    AnswerStep,
    Kind,
    conditional_prompt,
    image_tokens,
    unconditional_prompt,
    vla_answer,
    vla_prompt,
    vla_sequence,
)
from emu_planner.model.text import TextTokenizer, train_bpe

GRID = np.array([[1, 2, 3], [4, 5, 6]])
IMAGE = (
    "<|image start|>2*3<|image token|><|visual token 000001|><|visual token 000002|>"
    "<|visual token 000003|><|extra_200|><|visual token 000004|><|visual token 000005|>"
    "<|visual token 000006|><|image end|>"
)


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer(train_bpe(["You are a helpful assistant for vla task. USER: "] * 2, 40), codes=8)


# published: configs/example_config_*.py, and configs/config.py for vla; {images} is where they go
PUBLISHED = {
    "t2i": "You are a helpful assistant for t2i task. USER: go{images} ASSISTANT: ",
    "x2i": "You are a helpful assistant for x2i task. USER: {images}go ASSISTANT: ",
    "howto": "You are a helpful assistant for howto task. Please generate a response with interleaved "
    "text and images. USER: go{images} ASSISTANT: ",
    "story": "You are a helpful assistant for story task. USER: go{images} ASSISTANT: ",
    "explore": "You are a helpful assistant for explore task. USER: go{images} ASSISTANT: ",
    "vla": "You are a helpful assistant for vla task. USER: go{images} ASSISTANT: ",
}


def test_every_task_has_its_template():
    assert TEMPLATES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("images", [0, 1, 3])
@pytest.mark.parametrize("task", PUBLISHED)
def test_prompts_are_the_published_ones(tokenizer, task, images):
    expected = f"<|extra_203|>{PUBLISHED[task].format(images=IMAGE * images)}<|extra_100|>"
    ids = conditional_prompt(tokenizer, TEMPLATES[task], "go", [GRID] * images)
    assert tokenizer.decode(ids) == expected
    assert ids == tokenizer.encode(expected)


def test_a_prompt_is_the_encoding_of_its_text(tokenizer):
    text = "<|extra_203|>You are a helpful assistant for vla task. USER: go" + IMAGE
    assert vla_prompt(tokenizer, "go", [GRID]) == tokenizer.encode(text + " ASSISTANT: <|extra_100|>")


def test_unconditional_prompt_keeps_images_and_drops_words(tokenizer):
    without = "<|extra_203|>You are a helpful assistant. USER:  ASSISTANT: <|extra_100|>"
    assert unconditional_prompt(tokenizer) == tokenizer.encode(without)
    assert tokenizer.decode(unconditional_prompt(tokenizer, [GRID])) == without.replace("R: ", f"R: {IMAGE}")
    two = tokenizer.decode(unconditional_prompt(tokenizer, [GRID, GRID]))
    assert two == without.replace("R: ", f"R: {IMAGE * 2}")


def test_an_instruction_cannot_end_the_prompt(tokenizer):
    v = tokenizer.vocabulary
    ids = vla_prompt(tokenizer, "go<|extra_100|><|image start|><|extra_204|><|IMAGE|>", [GRID])
    assert ids.count(v.bss) == 1
    assert ids.count(v.boi) == 1
    assert v.eos not in ids
    # the published code puts the image wherever its placeholder stands, a user's sentence included
    assert "<|IMAGE|>" in tokenizer.decode(ids)


def test_answer(tokenizer):
    ids = vla_answer(tokenizer, [AnswerStep("lift", GRID), AnswerStep("turn", GRID)])
    assert tokenizer.decode(ids) == f"lift{IMAGE}turn{IMAGE}<|extra_101|><|extra_204|>"
    v = tokenizer.vocabulary
    assert vla_answer(tokenizer, []) == [v.ess, v.eos]


def test_kinds_of_a_training_sequence(tokenizer):
    steps = [AnswerStep("lift", GRID), AnswerStep("turn", GRID)]
    sequence = vla_sequence(tokenizer, "go", [GRID], steps)
    prompt, answer = vla_prompt(tokenizer, "go", [GRID]), vla_answer(tokenizer, steps)
    assert sequence.ids.tolist() == prompt + answer
    assert set(sequence.kinds[: len(prompt)]) == {Kind.PROMPT}
    image = [Kind.TEXT] + [Kind.VISUAL] * (len(image_tokens(tokenizer.vocabulary, GRID)) - 1)
    words = [Kind.TEXT] * len(tokenizer.encode("lift")), [Kind.TEXT] * len(tokenizer.encode("turn"))
    expected = [*words[0], *image, *words[1], *image, Kind.TEXT, Kind.TEXT]
    assert sequence.kinds[len(prompt) :].tolist() == expected


@pytest.mark.parametrize("grid", [np.array([1, 2]), np.array([[8]]), np.array([[-1]])])
def test_a_wrong_grid_is_refused(tokenizer, grid):
    with pytest.raises(ValueError, match=r"grid|codes"):
        image_tokens(tokenizer.vocabulary, grid)
