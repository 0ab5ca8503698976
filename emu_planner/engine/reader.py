"""The token stream of one plan read as steps, and where its time went.

What is no plan becomes a PlanError here. Knows no model; pictures come from a function it is given.
"""

import codecs
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import numpy as np

from emu_planner.engine.grammar import Phase
from emu_planner.engine.raster import Draft, Token
from emu_planner.model.prompt import Grid
from emu_planner.model.text import TextTokenizer
from emu_planner.plan import (
    ErrorCode,
    Event,
    FinishReason,
    Generation,
    Keyframe,
    KeyframeProgress,
    PlanError,
    Step,
    StepComplete,
    TextDelta,
    Timing,
)


class StepReader:
    """Reads the tokens of one plan.

    Args:
        tokenizer: of the model that writes them.
        imagine: the picture of a grid of codes [h, w].
        size: (h, w) of every grid.
        asked: how many steps, and whether with keyframes.
        first: number of the first step.
        max_subgoal_tokens: a subgoal of more tokens is no plan.
        clock: what to charge with the time that pictures take.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        imagine: Callable[[Grid], Keyframe],
        size: tuple[int, int],
        asked: Generation,
        *,
        first: int,
        max_subgoal_tokens: int,
        clock: "Clock",
    ) -> None:
        self._tokenizer, self._imagine, self._size = tokenizer, imagine, size
        self._asked, self._clock, self._limit = asked, clock, max_subgoal_tokens
        self._index = first
        self._end = first + asked.max_subgoals if asked.max_subgoals else None
        self._open()

    def read(self, tokens: Iterator[Token | Draft]) -> Generator[Event, None, FinishReason]:
        """Events of the steps; returns why they ended."""
        v = self._tokenizer.vocabulary
        for token in self._clock.watch(tokens):
            if isinstance(token, Draft):
                yield from self._take_draft(token)
            elif token.phase is not Phase.TEXT:
                yield from self._take_image(token)
            elif token.id == v.boi:
                yield from self._close_words()
            elif token.id in (v.ess, v.eos):
                if self._words.strip():
                    raise _invalid(f"the plan ends inside step {self._index}: {self._words!r}")
                return FinishReason.STOP
            else:
                yield from self._take_word(token)
            if self._index == self._end:
                return FinishReason.LENGTH
        return FinishReason.INTERRUPTED

    def _open(self) -> None:
        self._words, self._logprobs, self._codes = "", list[float](), list[int]()
        self._told = 0  # codes of the present picture
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def _take_word(self, token: Token) -> Iterator[Event]:
        tokenizer = self._tokenizer
        if not tokenizer.vocabulary.is_text(token.id):
            raise _invalid(f"{tokenizer.decode([token.id])} inside the subgoal of step {self._index}")
        self._logprobs.append(token.logprob)
        if len(self._logprobs) > self._limit:
            raise _invalid(f"the subgoal of step {self._index} is longer than {self._limit} tokens")
        yield from self._say(self._utf8.decode(tokenizer.token_bytes(token.id)))

    def _close_words(self) -> Iterator[Event]:
        yield from self._say(self._utf8.decode(b"", final=True))
        if not self._words.strip():
            raise _invalid(f"the image of step {self._index} has no subgoal before it")
        if not self._asked.keyframes:
            yield self._complete(None)

    def _say(self, text: str) -> Iterator[Event]:
        self._words += text
        if text:
            yield TextDelta(self._index, text)

    def _take_image(self, token: Token) -> Iterator[Event]:
        v = self._tokenizer.vocabulary
        height, width = self._size
        if token.id >= v.first_visual:
            self._codes.append(token.id - v.first_visual)
            return
        if token.id not in (v.eol, v.eoi):
            return
        yield from self._tell(len(self._codes))
        if token.id == v.eoi:
            if self._asked.keyframes:
                grid = np.array(self._codes).reshape(height, width)
                with self._clock.measure("decode_s"):
                    keyframe = self._imagine(grid)
                yield self._complete(keyframe)
            self._open()

    def _take_draft(self, draft: Draft) -> Iterator[Event]:
        # no code is there for good yet: so many would be if they came one by one
        height, width = self._size
        yield from self._tell(height * width * draft.done // draft.passes)

    def _tell(self, done: int) -> Iterator[Event]:
        """Progress of the picture, where it is more than was told."""
        height, width = self._size
        if self._asked.keyframes and done > self._told:
            self._told = done
            yield KeyframeProgress(self._index, done, height * width)

    def _complete(self, keyframe: Keyframe | None) -> StepComplete:
        """The step is whole; the next one has the next number."""
        confidence = math.exp(sum(self._logprobs) / len(self._logprobs))
        step = Step(self._index, self._words.strip(), keyframe, confidence)
        self._index += 1
        return StepComplete(step, self._clock.step())


class Clock:
    """Sums up where time went, for the present step and for the plan; the consumer's time is out."""

    def __init__(self) -> None:
        self._step: Counter[str] = Counter()
        self._plan: Counter[str] = Counter()

    def add(self, name: str, amount: float) -> None:
        """Add to a field of Timing."""
        for sums in (self._step, self._plan):
            sums[name] += amount  # type: ignore[assignment]

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes."""
        started_s = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started_s)

    def watch(self, tokens: Iterator[Token | Draft]) -> Iterator[Token | Draft]:
        """The same tokens; making the first counts as prefill, later ones as text or keyframe."""
        name = "prefill_s"
        while True:
            started_s = time.perf_counter()
            token = next(tokens, None)
            if token is None:
                return
            if name != "prefill_s":
                text = isinstance(token, Token) and token.phase is Phase.TEXT
                name = "text_s" if text else "keyframe_s"
            self.add(name, time.perf_counter() - started_s)
            self.add("generated_tokens", isinstance(token, Token))
            name = "text_s"
            yield token

    def step(self) -> Timing:
        """Timing since the last step."""
        timing = Timing(**self._step)
        self._step.clear()
        return timing

    def plan(self) -> Timing:
        """Timing of the whole plan."""
        return Timing(**self._plan)


def _invalid(what: str) -> PlanError:
    return PlanError(
        ErrorCode.INVALID_OUTPUT,
        f"the model wrote something that is no plan: {what}; try another seed or a lower temperature",
        retryable=True,
    )
