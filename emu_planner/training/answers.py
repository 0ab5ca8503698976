"""Log-probabilities of sampled plans, with gradient: plans of one prompt share the pass over it.

A row holds a prompt and some of its answers behind each other; each answer sees the prompt and itself
and stands where it would stand alone. A prompt with a picture is many times as long as a subgoal, so a
group costs little more than one plan. Knows no reward.

Shapes: R rows, S tokens, N chosen tokens, V ids of a choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emu_planner.engine.grammar import Choice, Phase
from emu_planner.model.transformer import Transformer
from emu_planner.training.rollouts import SampledPlan, scores


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Rows for one pass, and where in them the chosen tokens are."""

    # [R, S] token ids, absolute positions, and which answer (0: the prompt, -1: padding)
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    answers: NDArray[np.int64]
    # [N] of each chosen token: its row, the slot that predicts it, its id, whether it is a visual
    # code, and the number of its plan
    row: NDArray[np.int64]
    slot: NDArray[np.int64]
    token: NDArray[np.int64]
    visual: NDArray[np.bool_]
    plan: NDArray[np.int64]


def batches(
    groups: Sequence[Sequence[tuple[int, SampledPlan]]], *, row_tokens: int, pass_tokens: int, pad: int
) -> Iterator[AnswerBatch]:
    """Passes over groups of numbered plans, each group of one prompt.

    Args:
        row_tokens: most in a row; a plan that is longer has a row of its own.
        pass_tokens: most in a pass, padding counted; a row that is longer is a pass of its own.
    """
    rows: list[_Row] = []
    for row in sorted(_rows(groups, row_tokens), key=lambda row: len(row.ids)):
        if rows and len(row.ids) * (len(rows) + 1) > pass_tokens:
            yield _stack(rows, pad)
            rows = []
        rows.append(row)
    if rows:
        yield _stack(rows, pad)


def log_probabilities(
    model: Transformer, batch: AnswerBatch, text: Choice, visual: Choice, temperature: float
) -> tuple[Tensor, Tensor]:
    """Of each chosen token, [N]: its log-probability, and the entropy of its choice, nats, no gradient."""
    device = model.lm_head.weight.device
    ids, positions, answers, row, slot, token, is_visual = (
        torch.from_numpy(array).to(device)
        for array in (
            batch.ids, batch.positions, batch.answers, batch.row, batch.slot, batch.token, batch.visual
        )
    )  # fmt: skip
    found = torch.zeros(len(token), device=device)
    entropy = torch.zeros_like(found)
    with torch.autocast(device.type, torch.bfloat16):
        hidden = model.hidden(ids, positions=positions, mask=mask(answers))[row, slot]
    for choice, own in ((text, ~is_visual), (visual, is_visual)):
        where = own.nonzero()[:, 0]
        if not len(where):
            continue
        chances = scores(model, hidden[where], choice, temperature)
        picked = chances.gather(1, token[where, None] - choice.first)[:, 0]
        found = found.index_put((where,), picked)
        entropy[where] = torch.special.entr(chances.detach().exp()).sum(dim=1)
    return found, entropy


def mask(answers: Tensor) -> Tensor:
    """Who sees whom, bool [R, 1, S, S]: what came before, of the prompt and of one's own answer."""
    before = torch.ones(answers.shape[1], answers.shape[1], dtype=torch.bool, device=answers.device).tril()
    query, key = answers[:, :, None], answers[:, None, :]
    return (before & ((query == key) | (key == 0)))[:, None]


@dataclass
class _Row:
    """A row that is being filled; see AnswerBatch."""

    ids: list[int]
    positions: list[int]
    answers: list[int]
    tokens: list[tuple[int, int, bool, int]]


def _rows(groups: Sequence[Sequence[tuple[int, SampledPlan]]], row_tokens: int) -> Iterator[_Row]:
    for group in groups:
        row = None
        for number, plan in group:
            if row is None or len(row.ids) + len(plan.tokens) > row_tokens:
                if row is not None:
                    yield row
                prompt = plan.prompt.ids
                row = _Row(list(prompt), list(range(len(prompt))), [0] * len(prompt), [])
            _append(row, number, plan)
        if row is not None:
            yield row


def _append(row: _Row, number: int, plan: SampledPlan) -> None:
    prompt, begin = len(plan.prompt.ids), len(row.ids)
    answer = row.answers[-1] + 1
    for index, (token, chosen) in enumerate(zip(plan.tokens, plan.chosen, strict=True)):
        if chosen:
            # the first token of every answer is told by the prompt's last
            slot = begin + index - 1 if index else prompt - 1
            row.tokens.append((slot, token.id, token.phase is Phase.IMAGE, number))
        row.ids.append(token.id)
        row.positions.append(prompt + index)
        row.answers.append(answer)


def _stack(rows: list[_Row], pad: int) -> AnswerBatch:
    shape = len(rows), max(len(row.ids) for row in rows)
    ids = np.full(shape, pad, np.int64)
    positions, answers = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        positions[index, : len(row.ids)] = row.positions
        answers[index, : len(row.ids)] = row.answers
    tokens = [(index, *token) for index, row in enumerate(rows) for token in row.tokens]
    columns = [np.array(column) for column in zip(*tokens, strict=True)]
    return AnswerBatch(ids, positions, answers, *columns)
