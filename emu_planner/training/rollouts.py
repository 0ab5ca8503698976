"""Plans drawn from a policy, many at once: a token of each in every pass.

The grammar, the form of a prompt and what counts as a plan are the engine's, so a policy learns from
what it will be asked. Differs from the engine in what training needs: rows of many prompts side by
side, a model whose weights change, and which tokens were chosen. Knows no reward and no simulator.

Shapes: B prompts, G plans of each, R = B x G rows, C slots, S tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from emu_planner.engine.grammar import Choice, Grammar, Phase
from emu_planner.engine.raster import Token
from emu_planner.engine.reader import Clock, StepReader
from emu_planner.model.prompt import Grid
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer
from emu_planner.plan import ErrorCode, FinishReason, Generation, Keyframe, PlanError, Step, StepComplete

# By how many slots a full cache grows.
_GROWTH = 256
# Added to the score of an id that may not come; finite, so that 0 x it is 0.
_FORBIDDEN = -1e9


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a policy is asked."""

    # from BOS to BSS
    ids: list[int]
    # how many steps, and whether with keyframes; its sampling fields are not read
    asked: Generation
    # what rewards judge by; not looked at here
    situation: Any = None


@dataclass(frozen=True, eq=False)
class SampledPlan:
    """One answer to a prompt."""

    prompt: Prompt
    tokens: tuple[Token, ...]
    # which of them were chosen; the others the grammar forced
    chosen: tuple[bool, ...]
    steps: tuple[Step, ...]
    # the policy ended the plan by itself
    ended: bool
    # why it is no plan; empty: it is one
    fault: str = ""


@dataclass(frozen=True)
class Form:
    """What answers of a checkpoint look like."""

    tokenizer: TextTokenizer
    # (h, w) of a keyframe in codes
    size: tuple[int, int]
    # the picture of codes [h, w]
    imagine: Callable[[Grid], Keyframe]
    # a longer subgoal is no plan
    max_subgoal_tokens: int
    # most tokens of prompt and answer
    context: int

    def grammar(self) -> Grammar:
        """Of a new answer."""
        return Grammar(self.tokenizer.vocabulary, self.size)


def sample(
    model: Transformer,
    form: Form,
    prompts: Sequence[Prompt],
    *,
    group: int,
    temperature: float,
    generator: torch.Generator,
    most_rows: int = 256,
) -> list[list[SampledPlan]]:
    """`group` plans of each prompt, in its order.

    Args:
        temperature: 0: always the most likely token.
        generator: chance, on the model's device.
        most_rows: more plans than that are drawn one lot after the other.
    """
    lot = max(1, most_rows // group)
    plans: list[list[SampledPlan]] = []
    for begin in range(0, len(prompts), lot):
        some = prompts[begin : begin + lot]
        rows = [_Row(form, prompt) for prompt in some for _ in range(group)]
        _draw(model, some, rows, temperature, generator)
        read = [row.read() for row in rows]
        plans += [read[first : first + group] for first in range(0, len(read), group)]
    return plans


def scores(model: Transformer, hidden: Tensor, choice: Choice, temperature: float) -> Tensor:
    """Log-probabilities [N, V] with which each id of a choice comes after hidden states [N, width].

    In float32: a logit of 10 in bfloat16 is off by up to 0.03, more than one update moves it.
    """
    logits = model.head(hidden.float(), slice(choice.first, choice.stop)) / temperature
    for token in choice.forbidden:
        logits[:, token - choice.first] = _FORBIDDEN
    return logits.log_softmax(dim=-1)


@torch.no_grad()
def _draw(
    model: Transformer,
    prompts: Sequence[Prompt],
    rows: "list[_Row]",
    temperature: float,
    generator: torch.Generator,
) -> None:
    device = model.lm_head.weight.device
    lengths = torch.tensor([len(prompt.ids) for prompt in prompts], device=device)
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for index, prompt in enumerate(prompts):
        ids[index, : len(prompt.ids)] = torch.tensor(prompt.ids)
    cache = RowCache()
    with torch.autocast(device.type, torch.bfloat16):
        hidden = model.hidden(ids.to(device), cache=cache)
    hidden = hidden[torch.arange(len(prompts), device=device), lengths - 1]
    times = len(rows) // len(prompts)
    of_prompt = torch.arange(len(prompts), device=device).repeat_interleave(times)
    cache.keep(of_prompt)
    cache.lengths, hidden = lengths[of_prompt], hidden[of_prompt]
    while True:
        picked = _choose(model, hidden, rows, temperature, generator)
        for row, token in zip(rows, picked, strict=True):
            row.take(token)
        alive = [index for index, row in enumerate(rows) if not row.done]
        if not alive:
            return
        if len(alive) < len(rows):
            kept = torch.tensor(alive, device=device)
            rows, picked = [rows[index] for index in alive], [picked[index] for index in alive]
            cache.keep(kept)
            cache.lengths = cache.lengths[kept]
        hidden = _read(model, cache, picked)


def _read(model: Transformer, cache: "RowCache", tokens: list[int]) -> Tensor:
    """One more token in each row: the hidden states [R, width] after them."""
    device = cache.lengths.device
    positions = cache.lengths[:, None]
    mask = torch.arange(cache.reserve(), device=device) <= positions[:, None, None]
    ids = torch.tensor(tokens, device=device)[:, None]
    with torch.autocast(device.type, torch.bfloat16):
        hidden = model.hidden(ids, cache=cache, positions=positions, mask=mask)[:, 0]
    cache.lengths = cache.lengths + 1
    return hidden


def _choose(
    model: Transformer,
    hidden: Tensor,
    rows: "list[_Row]",
    temperature: float,
    generator: torch.Generator,
) -> list[int]:
    """The next token of each row: the forced one, or one that is drawn."""
    forced = [row.grammar.forced()[:1] for row in rows]
    picked = [tokens[0] if tokens else -1 for tokens in forced]
    for phase in (Phase.TEXT, Phase.IMAGE):
        own = [index for index, row in enumerate(rows) if picked[index] < 0 and row.grammar.phase is phase]
        if not own:
            continue
        choice = rows[own[0]].grammar.choice()
        states = hidden[torch.tensor(own, device=hidden.device)]
        chances = scores(model, states, choice, temperature or 1.0)
        if temperature:
            drawn = chances.exp().multinomial(1, generator=generator)[:, 0]
        else:
            drawn = chances.argmax(dim=-1)
        for index, place in zip(own, drawn.tolist(), strict=True):
            picked[index] = choice.first + place
    return picked


class RowCache:
    """Keys and values [R, K, C, D] of rows of different lengths, each from slot 0; a transformer.Cache.

    The first pass fills it with padded rows; every later one adds a token a row, at `lengths`.
    """

    def __init__(self) -> None:
        self.lengths = torch.zeros(0, dtype=torch.long)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def reserve(self) -> int:
        """Have room for one more token in each row; the number of slots."""
        slots = self._keys[0].shape[2]
        if int(self.lengths.max()) < slots:
            return slots
        for kept in (self._keys, self._values):
            for layer, old in enumerate(kept):
                kept[layer] = torch.cat((old, old.new_zeros(*old.shape[:2], _GROWTH, old.shape[3])), dim=2)
        return slots + _GROWTH

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, [R]; one may be taken several times. Their `lengths` are the caller's."""
        self._keys = [keys[rows] for keys in self._keys]
        self._values = [values[rows] for values in self._values]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """See transformer.Cache."""
        if layer == len(self._keys):
            self._keys.append(k)
            self._values.append(v)
            return k, v
        keys, values = self._keys[layer], self._values[layer]
        every = torch.arange(len(k), device=k.device)
        keys[every, :, self.lengths] = k[:, :, 0]
        values[every, :, self.lengths] = v[:, :, 0]
        return keys, values


@dataclass
class _Row:
    """A plan that is being written."""

    form: Form
    prompt: Prompt
    tokens: list[Token] = field(default_factory=list)
    chosen: list[bool] = field(default_factory=list)
    done: bool = False
    _steps: int = 0
    _words: int = 0

    def __post_init__(self) -> None:
        self.grammar = self.form.grammar()

    def take(self, token: int) -> None:
        """The next token; `done` when nothing more is wanted, or nothing more can become a plan."""
        v, asked = self.form.tokenizer.vocabulary, self.prompt.asked
        phase = self.grammar.phase
        self.chosen.append(not self.grammar.forced())
        self.grammar.advance(token)
        self.tokens.append(Token(token, phase))
        if phase is Phase.TEXT and token != v.boi:
            self._words += 1
            too_long = self._words > self.form.max_subgoal_tokens
            self.done = not v.is_text(token) or too_long
        elif token == v.boi:
            self._steps += not asked.keyframes
            self.done = self._words == 0
        elif token == v.eoi:
            self._steps += asked.keyframes
            self._words = 0
        whole = bool(asked.max_subgoals) and self._steps == asked.max_subgoals
        full = len(self.prompt.ids) + len(self.tokens) >= self.form.context
        self.done = self.done or whole or full

    def read(self) -> SampledPlan:
        """The plan, as the engine reads it."""
        form, prompt = self.form, self.prompt
        reader = StepReader(
            form.tokenizer, form.imagine, form.size, prompt.asked, first=0,
            max_subgoal_tokens=form.max_subgoal_tokens, clock=Clock(),
        )  # fmt: skip
        steps, reason, fault = [], FinishReason.INTERRUPTED, ""
        events = reader.read(iter(self.tokens))
        try:
            while True:
                event = next(events)
                if isinstance(event, StepComplete):
                    steps.append(event.step)
        except StopIteration as end:
            reason = end.value
        except PlanError as error:
            if error.code is not ErrorCode.INVALID_OUTPUT:
                raise
            fault = error.message
        return SampledPlan(
            prompt, tuple(self.tokens), tuple(self.chosen), tuple(steps), reason is FinishReason.STOP, fault
        )
