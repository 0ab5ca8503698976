"""Train the language model on interleaved episodes: words and visual codes, one next-token loss.

Visual tokens count half (Emu3.5 section 3.1). Samples are packed; attention stays inside a sample:
FlexAttention on an accelerator, a dense mask on a CPU. The same code runs a few steps on a CPU.

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
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from emu_planner.model.transformer import Transformer
from emu_planner.training.log import RunLog
from emu_planner.training.packing import PackedBatch, Sample, pack
from emu_planner.training.resume import load_state, save_state
from emu_planner.training.schedule import Schedule

# From ids, documents and blocks [rows, context] and a source of chance: the ids that the model reads.
Noise = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
# Chance in measurements on held-out samples: always the same, and none that a step of a run has.
_CHECK_DRAW = 2**40


@dataclass(frozen=True)
class LanguageTraining:
    """Settings of one run."""

    # folder of the run: log.jsonl, state.pt
    out: Path
    # length: steps, or minutes when steps is 0
    steps: int = 0
    minutes: float | None = None
    # tokens a row, rows a step
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
    """
    trainer = _Trainer(config, model.to(device), device, first_visual, save, noise)
    trainer.resume()
    trainer.log.say(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    batches = prefetch(pack(samples, rows=config.rows, context=config.context, pad=pad), depth=8)
    checks = list(pack(held_out, rows=config.rows, context=config.context, pad=pad))
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
    ) -> None:
        self.config, self.model, self.device, self.first_visual = config, model, device, first_visual
        self.save_checkpoint, self.noise = save, noise
        # tokens whose losses are told apart
        self.groups = ("text", "visual") if noise is None else ("text", "visual", "noisy")
        self.generator = torch.Generator(device)
        self.log = RunLog(config.out)
        self.optimisers = optimisers(model, config, fused=device.type == "cuda")
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

    def run(self, batches: Iterator[PackedBatch], checks: list[PackedBatch]) -> None:
        """Train to the end of the schedule."""
        config, log = self.config, self.log
        schedule = Schedule(
            steps=config.steps, minutes=config.minutes, warm_up=config.warm_up, start_step=self.step
        )
        saved_s, tokens, since_s = time.monotonic(), 0.0, time.monotonic()
        while (done := schedule.progress(self.step)) < 1.0:
            rate = config.rate * schedule.rate(self.step, done)
            for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
                group["lr"] = rate
            batch = next(batches)
            loss, means = self.forward(batch, self.step)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            tokens += batch.filled * batch.ids.size
            if self.step % 20 == 0 or self.step == 1:
                now_s = time.monotonic()
                figures: dict[str, float | Tensor] = {
                    "loss": loss.detach(), **dict(zip(self.groups, means, strict=True)), "norm": norm,
                    "rate": rate,
                    "tokens_per_s": tokens / (now_s - since_s),
                }  # fmt: skip
                log.write(self.step, figures)
                tokens, since_s = 0.0, now_s
            if config.validate_every and self.step % config.validate_every == 0:
                log.write(self.step, self.validate(checks), force=True)
            if time.monotonic() - saved_s > config.save_every_s:
                self.save()
                saved_s = time.monotonic()
        self.save()
        log.write(self.step, self.validate(checks), force=True)
        log.close()

    def forward(self, batch: PackedBatch, draw: int) -> tuple[Tensor, list[Tensor]]:
        """Weighted loss of one batch, and the mean loss of each group; `draw` is the number of its noise."""
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
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = self.model.hidden(ids, positions=positions, mask=mask)
        return self.judge(hidden, targets, weights, blocks)

    def head_loss(
        self, hidden: Tensor, targets: Tensor, weights: Tensor, blocks: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Cross entropy over the weights' sum, and each group's mean; hidden [rows, context, width]."""
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model.head(hidden)
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        weights = weights.flatten()
        loss = (each * weights).sum() / weights.sum().clamp_min(1.0)
        # 0 text, 1 visual, 2 visual in a block
        group = (targets >= self.first_visual).int() + (blocks > 0).int()
        means = []
        for number in range(len(self.groups)):
            counted = (group.flatten() == number) & (weights > 0)
            means.append(((each * counted).sum() / counted.sum().clamp_min(1)).detach())
        return loss, means

    @torch.no_grad()
    def validate(self, checks: list[PackedBatch]) -> dict[str, float]:
        """Mean losses over the held-out batches."""
        found = [self.forward(batch, _CHECK_DRAW + index) for index, batch in enumerate(checks)]
        rows = [[float(value.detach()) for value in (loss, *means)] for loss, means in found]
        names = ("held_out", *(f"held_out_{group}" for group in self.groups))
        return {name: sum(row[index] for row in rows) / max(1, len(rows)) for index, name in enumerate(names)}

    def save(self) -> None:
        """Write the run's state and a checkpoint."""
        save_state(self.config.out, self.state())
        self.save_checkpoint(self.model)

    def state(self) -> dict:
        """All that a later run needs to go on."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "config": {name: str(value) for name, value in asdict(self.config).items()},
        }

    def resume(self) -> None:
        """Go on from the run's saved state, if there is one."""
        state = load_state(self.config.out, self.device)
        if state is None:
            return
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
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


def block_mask(documents: Tensor, *layout: Tensor) -> BlockMask:
    """Who sees whom, for FlexAttention: causal inside a document, or as a Layout says; all [rows, context].

    Args:
        documents: numbers of the samples.
        layout: nothing, or blocks, positions and horizons.
    """

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        same = documents[row, query] == documents[row, key]
        if not layout:
            return (query >= key) & same
        blocks, positions, horizons = layout
        before = (blocks[row, key] == 0) & (positions[row, key] < horizons[row, query])
        beside = (blocks[row, query] > 0) & (blocks[row, query] == blocks[row, key])
        return same & (before | beside)

    rows, context = documents.shape
    return create_block_mask(sees, rows, None, context, context, device=documents.device)


def dense_mask(documents: Tensor, *layout: Tensor) -> Tensor:
    """The same as a bool tensor [rows, 1, context, context]."""
    same = documents[:, :, None] == documents[:, None, :]
    if not layout:
        return (same & torch.ones_like(same).tril())[:, None]
    blocks, positions, horizons = layout
    before = (blocks[:, None, :] == 0) & (positions[:, None, :] < horizons[:, :, None])
    beside = (blocks[:, :, None] > 0) & (blocks[:, :, None] == blocks[:, None, :])
    return (same & (before | beside))[:, None]


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
