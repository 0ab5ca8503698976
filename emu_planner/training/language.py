"""Train the language model on interleaved episodes: words and visual codes, one next-token loss.

Visual tokens count half (Emu3.5 section 3.1). Samples are packed; attention stays inside a sample:
FlexAttention on an accelerator, a dense mask on a CPU. The same code runs a few steps on a CPU, and as
one of several processes (distributed.py), each with its own samples.

With a `Noise` it also learns to see through it: samples may then hold blocks whose tokens see each
other (packing.Layout). Which blocks and what noise is told by whoever makes them (dida.py).
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask

from emu_planner.model.transformer import Transformer
from emu_planner.training.distributed import Team
from emu_planner.training.log import RunLog
from emu_planner.training.masks import block_mask, dense_mask
from emu_planner.training.packing import PackedBatch, Sample, pack
from emu_planner.training.resume import load_state, save_state
from emu_planner.training.schedule import Schedule

# From ids, documents and blocks [rows, context] and a source of chance: the ids that the model reads.
Noise = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
# Chance in measurements on held-out samples: always the same, and none that a step of a run has.
_CHECK_DRAW = 2**40
# between the draws of two processes: no run has so many steps
_RANK_DRAW = 2**30


@dataclass(frozen=True)
class LanguageTraining:
    """Settings of one run."""

    # folder of the run: log.jsonl, state.pt
    out: Path
    # length: steps, or minutes when steps is 0
    steps: int = 0
    minutes: float | None = None
    # tokens a row, rows a step; of several processes each takes its part of the rows
    context: int = 4096
    rows: int = 16
    rate: float = 1e-3
    # "muon": Muon for the layers' matrices, AdamW for all else; or "adamw" for everything
    optimiser: str = "muon"
    warm_up: int = 300
    weight_decay: float = 0.1
    seed: int = 0
    # steps between two measurements on held-out samples; 0: never
    validate_every: int = 1000
    # seconds between two saved states
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        if self.optimiser not in ("muon", "adamw"):
            raise ValueError(f"optimiser is {self.optimiser!r}; expected muon or adamw")


def train_language(
    config: LanguageTraining,
    model: Transformer,
    samples: Iterator[Sample],
    held_out: list[Sample],
    *,
    pad: int,
    first_visual: int,
    device: torch.device,
    save: Callable[[Transformer], None],
    noise: Noise | None = None,
    team: Team | None = None,
) -> Transformer:
    """Train, log, save; goes on from the run's saved state when there is one.

    Args:
        model: with the weights to begin with, float32.
        samples: an endless stream, already shuffled.
        held_out: samples for the validation loss.
        pad: id that fills empty positions.
        first_visual: ids from here on are visual codes, to report their loss apart.
        save: writes a checkpoint; called whenever the state is saved, so that a run that is cut
            leaves a model.
        noise: of the samples' blocks; None: the samples have none.
        team: the processes that learn this model together; the samples are this one's. Default: alone.

    Raises:
        ValueError: the rows do not divide among the team, its way has not this optimiser, or not all
            of the team find the same saved state.
    """
    team = team or Team()
    if config.rows % team.size:
        raise ValueError(f"{config.rows} rows a step do not divide among {team.size} processes")
    if config.optimiser not in team.optimisers:
        raise ValueError(
            f"{config.optimiser} needs whole matrices, and here each process holds a part; take "
            f"--optimiser {' or '.join(team.optimisers)}, or --parallel replicate"
        )
    rows = config.rows // team.size
    trainer = _Trainer(config, team.place(model, device), device, first_visual, save, noise, team)
    trainer.resume()
    trainer.log.say(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    batches = prefetch(pack(samples, rows=rows, context=config.context, pad=pad), depth=8)
    checks = list(pack(team.give(held_out), rows=rows, context=config.context, pad=pad))
    trainer.run(batches, checks)
    return model


class _Trainer:
    """The state of a run: model, optimiser, step."""

    def __init__(
        self,
        config: LanguageTraining,
        model: Transformer,
        device: torch.device,
        first_visual: int,
        save: Callable[[Transformer], None],
        noise: Noise | None,
        team: Team,
    ) -> None:
        self.config, self.model, self.device, self.first_visual = config, model, device, first_visual
        self.save_checkpoint, self.noise, self.team = save, noise, team
        # tokens whose losses are told apart
        self.groups = ("text", "visual") if noise is None else ("text", "visual", "noisy")
        self.generator = torch.Generator(device)
        self.log = RunLog(config.out if team.rank == 0 else None)
        self.step = 0
        on_gpu = device.type == "cuda"
        self.judge = self.head_loss
        if on_gpu:
            # the layers share one compiled pass, so that the first step does not wait for all of them
            for layer in model.model.layers:
                layer.compile()
            self.judge = torch.compile(self.head_loss)
        self.make_mask: Callable[..., Tensor | BlockMask]
        self.make_mask = torch.compile(block_mask) if on_gpu else dense_mask
        self.losses = team.around(model, self.compute)
        # of the parameters as they are now: a team may have parted them
        self.optimisers = optimisers(model, config, fused=on_gpu)

    def run(self, batches: Iterator[PackedBatch], checks: list[PackedBatch]) -> None:
        """Train to the end of the schedule."""
        config, log, team = self.config, self.log, self.team
        schedule = Schedule(
            steps=config.steps, minutes=config.minutes, warm_up=config.warm_up, start_step=self.step
        )
        saved_s, tokens, since_s = time.monotonic(), 0.0, time.monotonic()
        while (done := team.agree(schedule.progress(self.step))) < 1.0:
            rate = config.rate * schedule.rate(self.step, done)
            for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
                group["lr"] = rate
            batch = next(batches)
            loss, means, counts = self.forward(batch, self.step + team.rank * _RANK_DRAW)
            team.backward(loss, max(1.0, float(batch.weights.sum())))
            norm = team.clip(self.model, 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            tokens += batch.filled * batch.ids.size
            if self.step % 20 == 0 or self.step == 1:
                now_s = time.monotonic()
                figures: dict[str, float | Tensor] = {
                    **dict(zip(("loss", *self.groups), team.means(means, counts), strict=True)), "norm": norm,
                    "rate": rate,
                    "tokens_per_s": team.total(tokens) / (now_s - since_s),
                }  # fmt: skip
                log.write(self.step, figures)
                tokens, since_s = 0.0, now_s
            if config.validate_every and self.step % config.validate_every == 0:
                log.write(self.step, self.validate(checks), force=True)
            if team.agree(time.monotonic() - saved_s) > config.save_every_s:
                self.save()
                saved_s = time.monotonic()
        self.save()
        log.write(self.step, self.validate(checks), force=True)
        log.close()

    def forward(self, batch: PackedBatch, draw: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted loss of one batch, and what head_loss tells; `draw` is the number of its noise."""
        ids, targets, weights, documents, positions, blocks, horizons = (
            torch.from_numpy(array).to(self.device, non_blocking=True)
            for array in (
                batch.ids, batch.targets, batch.weights, batch.documents, batch.positions, batch.blocks,
                batch.horizons,
            )
        )  # fmt: skip
        if self.noise is None:
            mask = self.make_mask(documents)
        else:
            self.generator.manual_seed((self.config.seed << 41) + draw)
            ids = self.noise(ids, documents, blocks, self.generator)
            mask = self.make_mask(documents, blocks, positions, horizons)
        return self.losses(ids, positions, mask, targets, weights, blocks)

    def compute(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor | BlockMask,
        targets: Tensor,
        weights: Tensor,
        blocks: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From what the model reads to what head_loss tells."""
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = self.model.hidden(ids, positions=positions, mask=mask)
        return self.judge(hidden, targets, weights, blocks)

    def head_loss(
        self, hidden: Tensor, targets: Tensor, weights: Tensor, blocks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy over the weights' sum; hidden [rows, context, width].

        Also without gradient, [1 + groups] each: that loss and the mean of each group, and over how much.
        """
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model.head(hidden)
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        weights = weights.flatten()
        total = weights.sum().clamp_min(1.0)
        loss = (each * weights).sum() / total
        # 0 text, 1 visual, 2 visual in a block
        group = (targets >= self.first_visual).int() + (blocks > 0).int()
        means, counts = [loss.detach()], [total]
        for number in range(len(self.groups)):
            counted = (group.flatten() == number) & (weights > 0)
            means.append(((each * counted).sum() / counted.sum().clamp_min(1)).detach())
            counts.append(counted.sum().to(total.dtype))
        return loss, torch.stack(means), torch.stack(counts)

    @torch.no_grad()
    def validate(self, checks: list[PackedBatch]) -> dict[str, float]:
        """Mean losses over the held-out batches; each process of a team measures all."""
        found = [self.forward(batch, _CHECK_DRAW + index)[1] for index, batch in enumerate(checks)]
        rows = [means.tolist() for means in found]
        names = ("held_out", *(f"held_out_{group}" for group in self.groups))
        return {name: sum(row[index] for row in rows) / max(1, len(rows)) for index, name in enumerate(names)}

    def save(self) -> None:
        """Write the run's state and a checkpoint: all that a later run needs to go on."""
        held = self.team.state(self.model, self.optimisers)
        if self.team.rank == 0:
            config = {name: str(value) for name, value in asdict(self.config).items()}
            save_state(self.config.out, {"step": self.step, **held, "config": config})
            self.save_checkpoint(self.team.whole(self.model, held))

    def resume(self) -> None:
        """Go on from the run's saved state, if there is one."""
        state = load_state(self.config.out, torch.device("cpu"))
        self.step = 0 if state is None else state["step"]
        # else they would wait for each other at other steps, with other weights
        if self.team.total(float(self.step != self.team.agree(self.step))):
            raise ValueError(
                f"the processes of this run stand at different steps, this one at {self.step}: "
                f"{self.config.out} must be one folder that all machines share"
            )
        if state is None:
            return
        self.team.load(self.model, self.optimisers, state)
        self.log.say(f"going on from step {self.step}")


def optimisers(model: Transformer, config: LanguageTraining, *, fused: bool) -> list[torch.optim.Optimizer]:
    """What updates which parameters.

    Muon (Jordan et al. 2024) orthogonalises the update of a layer's matrix; scaled to the size of
    AdamW's update (Liu et al. 2025), both share one learning rate. Embedding, head and norms
    are AdamW's.
    """
    layers = [p for p in model.model.layers.parameters() if p.dim() > 1]
    own = {id(p) for p in layers} if config.optimiser == "muon" else set()
    rest = [p for p in model.parameters() if id(p) not in own]
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=config.rate,
        betas=(0.9, 0.95),
        fused=fused,
    )
    if not own:
        return [adamw]
    muon = torch.optim.Muon(
        layers, lr=config.rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, adamw]


def prefetch(batches: Iterator[PackedBatch], *, depth: int) -> Iterator[PackedBatch]:
    """Make batches in a thread of their own, at most `depth` ahead; its error is raised here."""
    ready: queue.Queue[PackedBatch | BaseException | None] = queue.Queue(depth)

    def work() -> None:
        try:
            for batch in batches:
                ready.put(batch)
            ready.put(None)
        except BaseException as error:  # handed to the consumer below
            ready.put(error)

    threading.Thread(target=work, daemon=True, name="packing").start()
    while (item := ready.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
