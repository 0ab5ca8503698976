"""Prompts and answers as token sequences: the one place where their form is written down.

Training and planning both call these functions, so what a model is asked is what it was taught.
Templates: those published with Emu3.5. Knows no pixels and no sampling.

Shapes: a grid is [h, w] visual codes, 0-based.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from emu_planner.model.text import TextTokenizer
from emu_planner.model.vocabulary import Vocabulary

Grid = NDArray[np.integer]


@dataclass(frozen=True)
class Template:
    """How one task of the model is asked for."""

    task: str
    # reference images stand before the question instead of after it
    images_first: bool = False
    # a sentence between the task and the question
    note: str = ""


VLA = Template("vla")
TEMPLATES = {
    "t2i": Template("t2i"),
    "x2i": Template("x2i", images_first=True),
    "howto": Template("howto", note=" Please generate a response with interleaved text and images."),
    "story": Template("story"),
    "explore": Template("explore"),
    "vla": VLA,
}


# Not one of the six: what a picture shows, which a small model learns beside its task to see better
DESCRIBE = Template("describe")


class Kind(IntEnum):
    """What a token of a training sequence is, for the weight of its loss."""

    PROMPT = 0  # given: not learned
    TEXT = 1  # words, and the decisions to open an image or to end
    VISUAL = 2  # an image after its opening: size, codes, row ends, closing


@dataclass(frozen=True)
class AnswerStep:
    """One step of an answer: the subgoal in words and the codes of its keyframe."""

    subgoal: str
    grid: Grid


@dataclass(frozen=True)
class TokenSequence:
    """Token ids and their kinds, [S] each."""

    ids: NDArray[np.int32]
    kinds: NDArray[np.uint8]


def image_tokens(vocabulary: Vocabulary, grid: Grid) -> list[int]:
    """The image string: BOI h*w IMG row EOL row ... row EOI.

    Raises:
        ValueError: the grid is not [h, w], or holds a code outside the vocabulary.
    """
    grid = np.asarray(grid)
    if grid.ndim != 2 or grid.size == 0:
        raise ValueError(f"expected a grid [h, w] of codes, got shape {list(grid.shape)}")
    if grid.min() < 0 or grid.max() >= vocabulary.codes:
        raise ValueError(
            f"codes run from {grid.min()} to {grid.max()}; the vocabulary has {vocabulary.codes}"
        )
    ids = [vocabulary.boi, *size_tokens(vocabulary, *grid.shape)]
    for row in (grid + vocabulary.first_visual).tolist():
        ids += row
        ids.append(vocabulary.eol)
    ids[-1] = vocabulary.eoi
    return ids


def size_tokens(vocabulary: Vocabulary, height: int, width: int) -> list[int]:
    """What follows BOI: the size in tokens as decimal text, h*w, and IMG."""
    return [*vocabulary.number(height), vocabulary.star, *vocabulary.number(width), vocabulary.img]


def conditional_prompt(
    tokenizer: TextTokenizer, template: Template, question: str, grids: Sequence[Grid] = ()
) -> list[int]:
    """The prompt of a task, from BOS to BSS.

    Special tokens written inside the question count as ordinary characters: a user's sentence
    cannot end the prompt or open an image.
    """
    opening = f"You are a helpful assistant for {template.task} task.{template.note} USER: "
    if template.images_first:
        return _prompt(tokenizer, opening, grids, f"{question} ASSISTANT: ")
    return _prompt(tokenizer, opening + question, grids, " ASSISTANT: ")


def unconditional_prompt(tokenizer: TextTokenizer, grids: Sequence[Grid] = ()) -> list[int]:
    """The prompt that classifier-free guidance contrasts with: the same images, no words."""
    return _prompt(tokenizer, "You are a helpful assistant. USER: ", grids, " ASSISTANT: ")


def vla_prompt(
    tokenizer: TextTokenizer, instruction: str, grids: Sequence[Grid], done: Sequence[str] = ()
) -> list[int]:
    """The prompt for a robot's plan: the instruction, what the cameras see, and the subgoals reached so far.

    Args:
        done: oldest first. The published template has no place for them: only for a model that has
            learned to read them.
    """
    told = f". done: {', '.join(done)}" if done else ""
    return conditional_prompt(tokenizer, VLA, instruction + told, grids)


def describe_prompt(tokenizer: TextTokenizer, grids: Sequence[Grid]) -> list[int]:
    """The prompt for a caption of what the cameras see."""
    return conditional_prompt(tokenizer, DESCRIBE, "what is where?", grids)


def vla_answer(tokenizer: TextTokenizer, steps: Sequence[AnswerStep]) -> list[int]:
    """The plan: subgoal and image of each step, then ESS EOS. No steps: nothing is left to do."""
    vocabulary = tokenizer.vocabulary
    ids: list[int] = []
    for step in steps:
        ids += tokenizer.encode_plain(step.subgoal)
        ids += image_tokens(vocabulary, step.grid)
    return [*ids, vocabulary.ess, vocabulary.eos]


def vla_sequence(
    tokenizer: TextTokenizer, instruction: str, grids: Sequence[Grid], steps: Sequence[AnswerStep]
) -> TokenSequence:
    """Prompt and answer as one training sequence."""
    return mark_answer(
        tokenizer.vocabulary,
        vla_prompt(tokenizer, instruction, grids),
        vla_answer(tokenizer, steps),
    )


def mark_answer(vocabulary: Vocabulary, prompt: list[int], answer: list[int]) -> TokenSequence:
    """Join prompt and answer; every token gets its kind."""
    ids = np.array(prompt + answer, dtype=np.int32)
    opened = np.cumsum(ids == vocabulary.boi)
    closed = np.cumsum(ids == vocabulary.eoi)
    # a token is inside an image when more were opened before it than closed before it
    inside = np.concatenate(([0], (opened - closed)[:-1])) > 0
    kinds = np.where(inside, Kind.VISUAL, Kind.TEXT).astype(np.uint8)
    kinds[: len(prompt)] = Kind.PROMPT
    return TokenSequence(ids, kinds)


def _prompt(tokenizer: TextTokenizer, before: str, grids: Sequence[Grid], after: str) -> list[int]:
    """BOS, words, images, words, BSS. Without images the words are encoded as one text."""
    vocabulary = tokenizer.vocabulary
    if not grids:
        return [vocabulary.bos, *tokenizer.encode_plain(before + after), vocabulary.bss]
    images = [token for grid in grids for token in image_tokens(vocabulary, grid)]
    return [
        vocabulary.bos,
        *tokenizer.encode_plain(before),
        *images,
        *tokenizer.encode_plain(after),
        vocabulary.bss,
    ]
