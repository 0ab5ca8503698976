"""GRPO: a policy learns from rewards of plans that it drew itself, against other plans for the same prompt.

A step: draw a group of plans a prompt, let every reward judge them, compare each within its group
(advantages.py), and raise the likelihood of what was better, near a frozen reference. Emu3.5 section
4.2 names the method and several normalised rewards, not clip, KL or how rewards are weighted; those are
settings here. Knows rewards by a protocol, and no simulator.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from emu_planner.model.transformer import Transformer
from emu_planner.training import advantages
from emu_planner.training.answers import AnswerBatch, batches, log_probabilities
from emu_planner.training.log import RunLog
from emu_planner.training.resume import load_state, save_state
from emu_planner.training.rollouts import Form, Prompt, SampledPlan, sample
from emu_planner.training.schedule import Schedule

# Chance of checks: none that a step of a run has.
_CHECK_DRAW = 2**40


@dataclass(frozen=True)
class GrpoTraining:
    """Settings of one run."""

    # folder of the run: log.jsonl, state.pt
    out: Path
    # length: steps, or minutes when steps is 0
    steps: int = 0
    minutes: float | None = None
    # prompts a step, and plans drawn for each
    prompts: int = 16
    group: int = 8
    # with which plans are drawn, and their likelihood is counted
    temperature: float = 1.0
    # updates from the same plans; from the second on, the clip matters
    passes: int = 2
    # the ratio of new to old likelihood counts between 1 - clip and 1 + clip
    clip: float = 0.2
    # weight of the distance to the reference
    kl_weight: float = 0.02
    # whose standard deviation divides a reward: "group" or "batch"; see advantages.normalise
    spread: str = "group"
    # how much a visual code counts, where a token of words counts 1 (Emu3.5 section 3.1)
    visual_weight: float = 0.5
    # learn also from groups whose plans are all as good: then only the reference pulls
    even_groups: bool = False
    # peak, and steps of linear warm-up; constant afterwards
    rate: float = 1e-5
    warm_up: int = 5
    weight_decay: float = 0.0
    # norm that gradients are cut to
    gradient_norm: float = 1.0
    # most tokens of a prompt and its answers in one row, and of all rows in one pass
    row_tokens: int = 2048
    pass_tokens: int = 8192
    # most plans that are drawn at once
    most_rows: int = 256
    seed: int = 0
    # steps between two checks on held-out prompts; 0: only at the start and at the end
    check_every: int = 25
    # seconds between two saved states
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("prompts", "passes", "row_tokens", "pass_tokens", "most_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.group < 2:
            raise ValueError(f"group is {self.group}; expected 2 or more: plans are compared with each other")
        if not (self.temperature > 0 and 0 < self.clip < 1 and self.kl_weight >= 0):
            raise ValueError(
                f"temperature {self.temperature}, clip {self.clip} and kl_weight {self.kl_weight}; "
                "expected above 0, between 0 and 1, and 0 or more"
            )
        if self.spread not in ("group", "batch"):
            raise ValueError(f"spread is {self.spread!r}; expected group or batch")


class Reward(Protocol):
    """How good plans are, in one respect."""

    @property
    def name(self) -> str:
        """Its curve in the log."""
        ...

    @property
    def weight(self) -> float:
        """Its part of the advantage, after normalisation; 0: it is only watched."""
        ...

    def __call__(self, plans: Sequence[SampledPlan]) -> Sequence[float]:
        """A finite number for each of a batch of plans; more is better."""
        ...


@dataclass(frozen=True)
class Check:
    """Prompts that are never learned from, answered with the most likely tokens."""

    # its figures are called name_reward
    name: str
    prompts: Sequence[Prompt]
    rewards: Sequence[Reward]


def train_grpo(
    config: GrpoTraining,
    model: Transformer,
    reference: Transformer,
    form: Form,
    prompts: Callable[[int], Iterator[list[Prompt]]],
    rewards: Sequence[Reward],
    *,
    checks: Sequence[Check] = (),
    pad: int,
    device: torch.device,
    save: Callable[[Transformer], None],
) -> Transformer:
    """Train, log, save; goes on from the run's saved state when there is one.

    Args:
        model: with the weights to begin with, float32. reference: the same, frozen; never changed.
        form: what answers look like.
        prompts: the batches of `config.prompts` from a step on, endless; asked once.
        rewards: at least one with a weight above 0.
        checks: measured before the first step, every `config.check_every` steps and at the end.
        pad: id that fills empty positions.
        save: writes a checkpoint; called whenever the state is saved.

    Raises:
        ValueError: no reward counts, or one gives something else than a finite number a plan.
    """
    weights = [reward.weight for reward in rewards]
    if min(weights, default=0) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights of the rewards are {weights}; expected 0 or more, and one above 0")
    reference.requires_grad_(False)
    trainer = _Trainer(config, model.to(device), reference.to(device), form, rewards, pad, device, save)
    trainer.resume()
    trainer.run(prompts, checks)
    return model


class _Trainer:
    """The state of a run: policy, optimiser, step."""

    def __init__(
        self,
        config: GrpoTraining,
        model: Transformer,
        reference: Transformer,
        form: Form,
        rewards: Sequence[Reward],
        pad: int,
        device: torch.device,
        save: Callable[[Transformer], None],
    ) -> None:
        self.config, self.model, self.reference, self.form = config, model, reference, form
        self.rewards, self.pad, self.device, self.save_checkpoint = rewards, pad, device, save
        grammar = form.grammar()
        self.choices = grammar.choice(), grammar.visual
        self.weights = torch.tensor([reward.weight for reward in rewards], dtype=torch.float32)
        self.generator = torch.Generator(device)
        self.log = RunLog(config.out)
        self.optimiser = torch.optim.AdamW(
            model.parameters(), config.rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )
        self.step = 0

    def run(self, prompts: Callable[[int], Iterator[list[Prompt]]], checks: Sequence[Check]) -> None:
        """Train to the end of the schedule."""
        config, log = self.config, self.log
        schedule = Schedule(
            steps=config.steps, minutes=config.minutes, warm_up=config.warm_up, start_step=self.step
        )
        if self.step == 0:
            self.check(checks)
        asked, saved_s, checked = prompts(self.step), time.monotonic(), self.step
        while schedule.progress(self.step) < 1.0:
            rate = config.rate * min(1.0, (self.step + 1) / max(1, config.warm_up))
            for part in self.optimiser.param_groups:
                part["lr"] = rate
            began_s = time.monotonic()
            lot = next(asked)
            asked_s = time.monotonic() - began_s
            log.write(self.step + 1, {**self.learn(lot), "ask_s": asked_s, "rate": rate})
            self.step += 1
            if config.check_every and self.step % config.check_every == 0:
                self.check(checks)
                checked = self.step
            if time.monotonic() - saved_s > config.save_every_s:
                self.save()
                saved_s = time.monotonic()
        if checked != self.step:
            self.check(checks)
        self.save()
        log.close()

    def learn(self, prompts: list[Prompt]) -> dict[str, float | Tensor]:
        """One step: draw, judge, update; its figures."""
        config = self.config
        began_s = time.monotonic()
        self.generator.manual_seed((config.seed << 41) + self.step)
        groups = sample(
            self.model, self.form, prompts, group=config.group, temperature=config.temperature,
            generator=self.generator, most_rows=config.most_rows,
        )  # fmt: skip
        drawn_s = time.monotonic()
        plans = [plan for group in groups for plan in group]
        values = judge(self.rewards, plans).view(len(self.rewards), len(groups), config.group)
        normal = advantages.normalise(values, config.spread)
        gains = advantages.combine(normal, self.weights)
        judged_s = time.monotonic()
        figures: dict[str, float | Tensor] = {
            "advantage": gains.abs().mean(),
            **self._reward_figures(values, normal),
            **_plan_figures(plans),
            **self._update(groups, gains),
            "draw_s": drawn_s - began_s,
            "judge_s": judged_s - drawn_s,
            "learn_s": time.monotonic() - judged_s,
        }
        return figures

    def _update(self, groups: list[list[SampledPlan]], gains: Tensor) -> dict[str, float | Tensor]:
        """Some updates from plans and their advantages [B, G]."""
        config, counted = self.config, sum(len(group) for group in groups)
        numbered = [
            [(number * config.group + place, plan) for place, plan in enumerate(group)]
            for number, group in enumerate(groups)
            if config.even_groups or bool(gains[number].abs().max() > 0)
        ]
        if not numbered:
            return {}
        parts = list(
            batches(numbered, row_tokens=config.row_tokens, pass_tokens=config.pass_tokens, pad=self.pad)
        )
        counts = [_counts(part, counted, config.visual_weight).to(self.device) for part in parts]
        known: list[tuple[Tensor, Tensor]] = []
        sums: dict[str, Tensor] = {}
        norm = torch.zeros(())
        for update in range(config.passes):
            for index, (part, weights) in enumerate(zip(parts, counts, strict=True)):
                new, entropy = log_probabilities(self.model, part, *self.choices, config.temperature)
                if update == 0:
                    # the policy is still the one that drew them
                    known.append((new.detach(), self._of_reference(part)))
                found = advantages.objective(
                    new, *known[index], gains.flatten()[torch.from_numpy(part.plan)].to(self.device), weights,
                    clip=config.clip, kl_weight=config.kl_weight,
                )  # fmt: skip
                found.loss.backward()
                share = weights.sum()
                own = {"clipped": found.clipped * share / config.passes}
                if update == 0:
                    # as the plans were drawn: how far the steps before have gone
                    own |= {"kl": found.kl * share, "entropy": (entropy * weights).sum(), "total": share}
                for name, value in own.items():
                    sums[name] = value + sums.get(name, torch.zeros_like(value))
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_norm)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        total = sums.pop("total")
        means: dict[str, float | Tensor] = {name: value / total for name, value in sums.items()}
        return {**means, "groups": len(numbered) / len(groups), "norm": norm}

    @torch.no_grad()
    def _of_reference(self, part: AnswerBatch) -> Tensor:
        return log_probabilities(self.reference, part, *self.choices, self.config.temperature)[0]

    def _reward_figures(self, values: Tensor, normal: Tensor) -> dict[str, float | Tensor]:
        """Of each reward: its mean, its share of the advantages, and of groups that it tells apart."""
        shares = advantages.parts(normal, self.weights)
        figures: dict[str, float | Tensor] = {}
        for index, reward in enumerate(self.rewards):
            figures[reward.name] = values[index].mean()
            figures[f"{reward.name}_share"] = shares[index]
            figures[f"{reward.name}_differs"] = normal[index].abs().amax(dim=-1).gt(0).float().mean()
        figures["reward"] = (self.weights[:, None, None] * values).sum(0).mean() / self.weights.sum()
        return figures

    def check(self, checks: Sequence[Check]) -> None:
        """Measure all rewards on held-out prompts, with the most likely plan of each."""
        figures: dict[str, float | Tensor] = {}
        for check in checks:
            self.generator.manual_seed(_CHECK_DRAW)
            groups = sample(
                self.model, self.form, check.prompts, group=1, temperature=0.0, generator=self.generator,
                most_rows=self.config.most_rows,
            )  # fmt: skip
            values = judge(check.rewards, [plan for (plan,) in groups])
            for reward, value in zip(check.rewards, values, strict=True):
                figures[f"{check.name}_{reward.name}"] = value.mean()
        if figures:
            self.log.write(self.step, figures, force=True)

    def save(self) -> None:
        """Write the run's state and a checkpoint."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "config": {name: str(value) for name, value in asdict(self.config).items()},
        }
        save_state(self.config.out, state)
        self.save_checkpoint(self.model)

    def resume(self) -> None:
        """Go on from the run's saved state, if there is one."""
        state = load_state(self.config.out, self.device)
        if state is None:
            return
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.log.say(f"going on from step {self.step}")


def judge(rewards: Sequence[Reward], plans: Sequence[SampledPlan]) -> Tensor:
    """What each reward says of each plan, float32 [K, plans]. Errors: see train_grpo."""
    rows = []
    for reward in rewards:
        found = np.asarray(reward(plans), dtype=np.float64)
        if found.shape != (len(plans),) or not np.isfinite(found).all():
            raise ValueError(
                f"the reward {reward.name} gave {found.tolist()}; expected {len(plans)} finite numbers"
            )
        rows.append(torch.from_numpy(found).float())
    return torch.stack(rows)


def _counts(part: AnswerBatch, plans: int, visual_weight: float) -> Tensor:
    """How much each chosen token counts: plans count alike, each 1 / `plans` in all."""
    own = np.where(part.visual, visual_weight, 1.0)
    totals = np.bincount(part.plan, own)
    return torch.from_numpy(own / totals[part.plan] / plans).float()


def _plan_figures(plans: Sequence[SampledPlan]) -> dict[str, float]:
    """Lengths, and how plans end."""
    count = len(plans)
    return {
        "tokens": sum(len(plan.tokens) for plan in plans) / count,
        "steps": sum(len(plan.steps) for plan in plans) / count,
        "ended": sum(plan.ended for plan in plans) / count,
        "faults": sum(bool(plan.fault) for plan in plans) / count,
    }
