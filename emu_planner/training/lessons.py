"""From recorded lessons to training samples: question and answer in the published form of each task.

An answer that is longer than the context is shown in part, as long walks are: the question with its
pictures, the words of the steps that are over, then steps with their pictures up to one drawn at random, as
many as fit. What is over counts nothing; its words tell where a walk stands, at a tenth of the tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu_planner.model.prompt import TEMPLATES, conditional_prompt, image_tokens, unconditional_prompt
from emu_planner.model.text import TextTokenizer
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.training.episodes import SampleConfig, weighted
from emu_planner.training.packing import Sample
from emu_planner.training.stream import Pool
from sim.lessons.data import LessonRecord
from sim.lessons.lesson import IMAGE_THOUGHT, PICTURE, THOUGHT, Part


@dataclass(frozen=True)
class CodedLesson:
    """A lesson whose pictures are codes: grids [references + pictures of the answer, h, w]."""

    task: str
    instruction: str
    references: int
    parts: tuple[Part, ...]
    grids: NDArray[np.uint16]

    @property
    def texts(self) -> tuple[str, ...]:
        """All words, for who learns a vocabulary."""
        return (self.instruction, *(part.text for part in self.parts if part.text))


class LessonPool(Pool[CodedLesson]):
    """Lessons, see Pool."""

    def _coded(self, records: Sequence[LessonRecord], codes: NDArray[np.uint16]) -> list[CodedLesson]:
        lessons, first = [], 0
        for record in records:
            grids = codes[first : first + len(record.frames)]
            first += len(record.frames)
            lessons.append(
                CodedLesson(record.task, record.instruction, record.references, record.parts, grids)
            )
        return lessons


@dataclass(frozen=True)
class _Step:
    """What leads to a picture of the answer, and the picture; the last may lack one."""

    words: list[int]
    picture: list[int]


def endless_lesson_samples(
    lessons: Iterator[CodedLesson], tokenizer: TextTokenizer, config: SampleConfig, *, context: int
) -> Iterator[Sample]:
    """A sample of each lesson that comes; of what is longer than the context, a part of it."""
    rng = np.random.default_rng(config.seed)
    for lesson in lessons:
        with_words = bool(rng.random() >= config.unconditional_share)
        last = int(rng.integers(_pictures(lesson)))
        yield make_lesson_sample(
            lesson,
            tokenizer,
            context=context,
            last=last,
            with_words=with_words,
            visual_weight=config.visual_weight,
        )


def make_lesson_sample(
    lesson: CodedLesson,
    tokenizer: TextTokenizer,
    *,
    context: int,
    last: int | None = None,
    with_words: bool = True,
    visual_weight: float = SampleConfig.visual_weight,
) -> Sample:
    """Question and answer of a lesson, at most `context` tokens.

    Args:
        last: the picture of the answer that a part ends with, where all of it does not fit; None: the
            last one, and the end.
        with_words: whether the question's words are given.

    Raises:
        ValueError: not even the question, the words and one picture fit.
    """
    v = tokenizer.vocabulary
    references = list(lesson.grids[: lesson.references])
    prompt = (
        conditional_prompt(tokenizer, TEMPLATES[lesson.task], lesson.instruction, references)
        if with_words
        else unconditional_prompt(tokenizer, references)
    )
    steps = _steps(lesson, tokenizer)
    room = context - len(prompt) - 2
    end = last is None or sum(len(s.words) + len(s.picture) for s in steps) <= room
    over, shown = _part(steps if end or last is None else steps[: last + 1], room)
    end = end or len(over) + len(shown) == len(steps)
    answer = [token for step in shown for token in (*step.words, *step.picture)]
    if end:
        answer += [v.ess, v.eos]
    given = [token for step in over for token in step.words]
    return weighted(v, prompt + given, answer, visual_weight)


def mixed(first: Iterator[Sample], second: Iterator[Sample], share: float, seed: int) -> Iterator[Sample]:
    """Samples of two streams, this share of them, in the mean, of the second. ValueError: no share."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share}; expected 0 to 1")
    rng = np.random.default_rng([seed, 1])
    while True:
        yield next(second if rng.random() < share else first)


def _part(steps: list[_Step], room: int) -> tuple[list[_Step], list[_Step]]:
    """Steps of which only words are told, and those that are shown: the last ones that fit."""
    used, first = sum(len(step.words) for step in steps), len(steps)
    while first and used + len(steps[first - 1].picture) <= room:
        first -= 1
        used += len(steps[first].picture)
    if first == len(steps):
        raise ValueError(f"{used} tokens of words and a picture do not fit the {room} that are left of a row")
    return steps[:first], steps[first:]


def _steps(lesson: CodedLesson, tokenizer: TextTokenizer) -> list[_Step]:
    """The answer, picture by picture."""
    v = tokenizer.vocabulary
    grids = iter(lesson.grids[lesson.references :])
    steps: list[_Step] = []
    words: list[int] = []
    for part in lesson.parts:
        if part.kind == PICTURE:
            steps.append(_Step(words, image_tokens(v, next(grids))))
            words = []
        else:
            words += _marked(v, part.kind, tokenizer.encode_plain(part.text))
    return [*steps, _Step(words, [])] if words else steps


def _marked(v: Vocabulary, kind: str, words: list[int]) -> list[int]:
    """Words of the answer, or a thought between its marks, as engine/answer.py reads them."""
    if kind == THOUGHT:
        return [v.bog, *words, v.eog]
    return [v.boc, *words, v.eoc] if kind == IMAGE_THOUGHT else words


def _pictures(lesson: CodedLesson) -> int:
    return len(lesson.grids) - lesson.references
