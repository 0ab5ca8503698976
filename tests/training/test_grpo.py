"""GRPO with a tiny policy: what is drawn, how likely it was, and that rewards rise."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emu_planner.model.checkpoint import load_transformer
from emu_planner.model.prompt import TEMPLATES, Grid, conditional_prompt, image_tokens
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.plan import Generation, Keyframe
from emu_planner.training.answers import batches, log_probabilities
from emu_planner.training.grpo import Check, GrpoTraining, train_grpo
from emu_planner.training.rollouts import Form, Prompt, SampledPlan, sample
from tools.make_tiny_checkpoint import ANSWERS, GRID, QUESTIONS, grid_of, make

TOKENIZER = TextTokenizer({bytes([byte]): byte for byte in range(256)}, codes=12)
V = TOKENIZER.vocabulary
FIRST = Generation(max_subgoals=1, keyframes=False)
CPU = torch.device("cpu")


def imagine(grid: Grid) -> Keyframe:
    """A picture that shows the codes themselves."""
    return Keyframe(np.repeat(grid[..., None], 3, axis=2).astype(np.uint8), ("front",))


FORM = Form(TOKENIZER, (2, 3), imagine, max_subgoal_tokens=4, context=64)


def policy(seed: int = 0, *, vocabulary: int = V.size) -> Transformer:
    model = Transformer(TransformerConfig(vocabulary, 32, 64, 2, 2, 1, 16))
    model.initialise(seed)
    return model


def prompts(asked: Generation = FIRST) -> list[Prompt]:
    """Of different lengths, so that rows are padded."""
    seen = np.arange(6).reshape(2, 3)
    return [
        Prompt([V.bos, *image_tokens(V, seen), *b"go", V.bss], asked),
        Prompt([V.bos, *image_tokens(V, seen + 3), *b"go slowly", V.bss], asked),
    ]


def drawn(
    model: Transformer, asked: list[Prompt], *, group: int = 3, temperature: float = 1.0, rows: int = 256
) -> list[list[SampledPlan]]:
    generator = torch.Generator().manual_seed(1)
    return sample(
        model, FORM, asked, group=group, temperature=temperature, generator=generator, most_rows=rows
    )


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Form, Prompt]:
    """A model that knows one plan, what its answers look like, and the prompt for it."""
    folder = tmp_path_factory.mktemp("tiny")
    make(folder, tasks=("vla",), context=256)
    tokenizer = TextTokenizer.from_folder(folder)
    ids = conditional_prompt(tokenizer, TEMPLATES["vla"], QUESTIONS["vla"])
    form = Form(tokenizer, GRID, imagine, max_subgoal_tokens=16, context=256)
    return load_transformer(folder), form, Prompt(ids, Generation())


def test_a_plan_is_read_as_the_engine_reads_it(by_heart: tuple[Transformer, Form, Prompt]) -> None:
    model, form, prompt = by_heart
    asked = [prompt, Prompt(prompt.ids, FIRST), Prompt(prompt.ids, Generation(max_subgoals=1))]
    generator = torch.Generator()
    (whole,), (words,), (step,) = sample(model, form, asked, group=1, temperature=0.0, generator=generator)
    told = [part.text for part in ANSWERS["vla"] if not isinstance(part, int)]
    shown = [grid_of(part) for part in ANSWERS["vla"] if isinstance(part, int)]
    assert [one.subgoal for one in whole.steps] == told
    for one, grid in zip(whole.steps, shown, strict=True):
        assert one.keyframe is not None
        assert one.keyframe.rgb[..., 0].tolist() == grid.tolist()
    assert whole.ended
    assert not whole.fault
    assert [one.subgoal for one in words.steps] == told[:1]
    assert words.steps[0].keyframe is None
    assert words.tokens[-1].id == form.tokenizer.vocabulary.boi
    assert not words.ended
    assert [one.keyframe is not None for one in step.steps] == [True]
    # sizes, row ends and image ends were forced: 1 row end and 1 image end, 4 ids before the codes
    codes = math.prod(GRID)
    assert whole.chosen.count(False) == 2 * (2 + len("2*3") + 1)
    assert sum(token.id >= form.tokenizer.vocabulary.first_visual for token in whole.tokens) == 2 * codes


def test_what_cannot_become_a_plan_is_cut_off_and_told() -> None:
    plans = [plan for group in drawn(policy(), prompts(), group=32) for plan in group]
    assert any("longer than 4 tokens" in plan.fault for plan in plans)
    assert max(len(plan.tokens) for plan in plans) == 5
    for plan in plans:
        assert plan.fault or plan.ended or len(plan.steps) == 1
        assert all(plan.chosen)


def test_lots_give_every_prompt_its_plans() -> None:
    found = drawn(policy(), prompts(), rows=3)
    assert [[plan.prompt.ids for plan in group] for group in found] == [[p.ids] * 3 for p in prompts()]


def alone(model: Transformer, plan: SampledPlan, form: Form) -> list[tuple[float, float]]:
    """Of each chosen token: its log-probability, and that of the likeliest; one pass, no cache, float32."""
    ids = plan.prompt.ids + [token.id for token in plan.tokens]
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0]
    grammar, found = form.grammar(), []
    for index, token in enumerate(plan.tokens):
        if not grammar.forced():
            choice = grammar.choice()
            own = logits[len(plan.prompt.ids) + index - 1, choice.first : choice.stop].clone()
            own[[forbidden - choice.first for forbidden in choice.forbidden]] = -torch.inf
            scored = own.log_softmax(dim=0)
            found.append((float(scored[token.id - choice.first]), float(scored.max())))
        grammar.advance(token.id)
    return found


def test_many_rows_at_once_choose_as_one_alone() -> None:
    for group in drawn(policy(), prompts(), group=2, temperature=0.0):
        for plan in group:
            for chosen, best in alone(policy(), plan, FORM):
                # passes are bfloat16; differences of random weights' logits are about 0.1
                assert chosen == pytest.approx(best, abs=0.01)


@pytest.mark.parametrize("row_tokens", [40, 4096])
def test_plans_that_share_a_prompt_are_as_likely_as_alone(
    by_heart: tuple[Transformer, Form, Prompt], row_tokens: int
) -> None:
    model, form, prompt = by_heart
    generator = torch.Generator().manual_seed(3)
    asked = [prompt, Prompt(prompt.ids[:-3] + prompt.ids[-1:], Generation())]
    groups = sample(model, form, asked, group=3, temperature=1.0, generator=generator)
    plans = [plan for group in groups for plan in group]
    numbered = [[(3 * place + index, plan) for index, plan in enumerate(g)] for place, g in enumerate(groups)]
    grammar = form.grammar()
    found: list[list[float]] = [[] for _ in plans]
    for part in batches(numbered, row_tokens=row_tokens, pass_tokens=500, pad=0):
        scores, entropy = log_probabilities(model, part, grammar.choice(), grammar.visual, 1.0)
        assert (entropy >= 0).all()
        for number, score in zip(part.plan, scores.tolist(), strict=True):
            found[number].append(score)
    for plan, scores in zip(plans, found, strict=True):
        expected = [score for score, _ in alone(model, plan, form)]
        # passes are bfloat16
        assert scores == pytest.approx(expected, rel=0.05, abs=0.15)


class Share:
    """A reward: the share of a plan's tokens with a property."""

    def __init__(self, name: str, weight: float, divisor: int) -> None:
        self.name, self.weight, self._divisor = name, weight, divisor

    def __call__(self, plans: Sequence[SampledPlan]) -> Sequence[float]:
        return [float(np.mean([t.id % self._divisor == 0 for t in plan.tokens])) for plan in plans]


def endless(step: int) -> Iterator[list[Prompt]]:
    assert step >= 0
    while True:
        yield prompts()


def run(out: Path, model: Transformer, rewards: Sequence[Share], **changes: object) -> list[dict]:
    settings = {"steps": 2, "prompts": 2, "group": 16, "rate": 3e-3, "warm_up": 0, "check_every": 0}
    config = replace(GrpoTraining(out=out), **(settings | changes))
    held_out = Check("check", prompts(), [Share("even", 0.0, 2)])
    train_grpo(
        config, model, policy(), FORM, endless, rewards, checks=[held_out], pad=V.pad, device=CPU,
        save=lambda model: torch.save(model.state_dict(), out / "saved.pt"),
    )  # fmt: skip
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def curve(rows: list[dict], name: str) -> list[float]:
    found = [row[name] for row in rows if name in row]
    assert all(math.isfinite(value) for value in found)
    return found


def test_rewards_rise_together(tmp_path: Path) -> None:
    rewards = [Share("even", 1.0, 2), Share("third", 1.0, 3), Share("watched", 0.0, 5)]
    rows = run(tmp_path, policy(), rewards, steps=40, kl_weight=0.0)
    for name in ("even", "third"):
        values = curve(rows, name)
        assert np.mean(values[-5:]) > np.mean(values[:5]) + 0.2
    assert curve(rows, "check_even")[-1] > curve(rows, "check_even")[0] or curve(rows, "check_even")[0] == 1.0
    assert curve(rows, "watched_share") == [0.0] * 40
    assert {"entropy", "kl", "clipped", "tokens", "faults", "ended", "groups"} <= rows[1].keys()
    assert (tmp_path / "saved.pt").is_file()


def test_the_first_step_is_at_the_reference_and_later_ones_are_held_near(tmp_path: Path) -> None:
    free = run(tmp_path / "free", policy(), [Share("even", 1.0, 2)], steps=12, kl_weight=0.0)
    held = run(tmp_path / "held", policy(), [Share("even", 1.0, 2)], steps=12, kl_weight=2.0)
    assert curve(free, "kl")[0] == curve(held, "kl")[0] == 0
    assert 0 < curve(held, "kl")[-1] < curve(free, "kl")[-1]


def test_a_run_that_goes_on_ends_where_one_without_a_break_does(tmp_path: Path) -> None:
    straight, broken, rewards = policy(), policy(), [Share("even", 1.0, 2)]
    run(tmp_path / "straight", straight, rewards, steps=4)
    run(tmp_path / "broken", broken, rewards, steps=2)
    again = policy(seed=5)
    rows = run(tmp_path / "broken", again, rewards, steps=4)
    assert [row["step"] for row in rows if "even" in row] == [1, 2, 3, 4]
    for one, other in zip(straight.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(broken.lm_head.weight, again.lm_head.weight)


def test_groups_that_are_all_as_good_change_nothing(tmp_path: Path) -> None:
    model, before = policy(), policy()
    # every token id is a multiple of 1
    rows = run(tmp_path, model, [Share("any", 1.0, 1)])
    assert curve(rows, "any_differs") == [0, 0]
    assert torch.equal(model.lm_head.weight, before.lm_head.weight)


def test_the_reference_pulls_in_them_where_that_is_wanted(tmp_path: Path) -> None:
    model = policy()
    run(tmp_path / "away", model, [Share("even", 1.0, 2)], steps=12, kl_weight=0.0)
    settings = {"steps": 12, "even_groups": True, "kl_weight": 1.0}
    rows = run(tmp_path / "back", model, [Share("any", 1.0, 1)], **settings)
    assert curve(rows, "groups") == [1.0] * 12
    assert curve(rows, "kl")[-1] < 0.5 * curve(rows, "kl")[0]


class Broken(Share):
    """A reward that is no number."""

    def __call__(self, plans: Sequence[SampledPlan]) -> Sequence[float]:
        return [math.nan for _ in plans]


@pytest.mark.parametrize(
    ("rewards", "words"),
    [
        ([Share("even", 0.0, 2)], "one above 0"),
        ([], "one above 0"),
        ([Broken("broken", 1.0, 2)], "broken gave"),
    ],
)
def test_rewards_that_cannot_teach_are_refused(tmp_path: Path, rewards: list[Share], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(tmp_path, policy(), rewards)


@pytest.mark.parametrize(
    "changes", [{"group": 1}, {"clip": 0.0}, {"temperature": 0.0}, {"spread": "all"}, {"passes": 0}]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(GrpoTraining(out=tmp_path), **changes)
