"""Train the IBQ vision tokenizer on the simulator's pictures.

Losses: absolute error, squared error, absolute error of the picture's gradients (edges carry the
state), the quantiser's distance and a pull towards using all codes. No loss needs downloaded
weights. The same code runs a few steps on a CPU and a whole run on an accelerator.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emu_planner.model.checkpoint import save_vision_tokenizer
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.training.frames import FramePool, to_model
from emu_planner.training.log import RunLog
from emu_planner.training.quantise import Usage, crowdedness, quantise, unit
from emu_planner.training.resume import load_state, save_state
from emu_planner.training.schedule import Schedule
from sim.lessons.data import open_reader

# Two grey levels: a patch that changes less does not change
_STILL = 2 / 127.5
# Twelve grey levels between neighbours: an edge
_EDGE = 12 / 127.5

SIZES = {
    # 16 px a code, 8,192 codes: 288 codes for a picture of 384x192 px
    "nano": VisionConfig(
        ch=64,
        ch_mult=(1, 2, 2, 4),
        num_res_blocks=2,
        z_channels=256,
        embed_dim=16,
        n_embed=8192,
        patch_size=2,
    ),
    # 24 px a code, 16,384 codes: 128 codes for the same picture
    "coarse": VisionConfig(
        ch=96, ch_mult=(1, 2, 4), num_res_blocks=2, z_channels=256, embed_dim=16, n_embed=16384, patch_size=6
    ),
    # a toy, to try the path on a CPU
    "tiny": VisionConfig(
        ch=32, ch_mult=(1, 2, 2, 4), num_res_blocks=1, z_channels=32, embed_dim=16, n_embed=512, patch_size=2
    ),
}


@dataclass(frozen=True)
class TokenizerTraining:
    """Settings of one run."""

    # folder of episodes, as the simulator's data writer makes it
    data: Path
    # folder of the run: log.jsonl, state.pt, checkpoint/
    out: Path
    # length: steps, or minutes when steps is 0
    steps: int = 0
    minutes: float | None = None
    # pictures a step, in pairs
    batch_size: int = 64
    rate: float = 5e-4
    warm_up: int = 200
    seed: int = 0
    # most pictures to hold
    limit: int = 60_000
    # pictures to begin with; more join while the run goes on
    start_with: int = 10_000
    # share of the run without quantisation, before codes are taken from latents
    continuous_share: float = 0.12
    # share of the run after which idle codes stay as they are
    restart_until: float = 0.8
    restart_every: int = 50
    # of the softmax over codes, as a share of the latents' variance
    temperature: float = 0.07
    commitment: float = 0.25
    quantise_weight: float = 0.5
    # of latents lying close together, before quantisation only: without it they collapse
    # early, with it for long equal pixels get unequal codes
    crowding_weight: float = 0.02
    edge_weight: float = 1.0
    # how much more a pixel near an edge of the picture counts: things are small on a large plain table
    thing_weight: float = 4.0
    # of a patch's latent changing between two pictures of a scene in which the patch does not
    drift_weight: float = 0.5
    # seconds between two saved states
    save_every_s: float = 120.0

    def __post_init__(self) -> None:
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size is {self.batch_size}; expected pairs of pictures: 2, 4, 6 ...")
        if self.thing_weight < 0:
            raise ValueError(f"thing_weight is {self.thing_weight}; expected 0 or more")


def train_tokenizer(config: TokenizerTraining, vision: VisionConfig, device: torch.device) -> VisionTokenizer:
    """Train, log, save; goes on from the run's saved state when there is one.

    Returns:
        The trained tokenizer, also saved under config.out / "checkpoint".
    """
    torch.manual_seed(config.seed)
    frames = FramePool(open_reader(config.data), limit=config.limit, device=device)
    model = VisionTokenizer(vision)
    model.initialise()
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = _Trainer(config, model, device)
    trainer.resume()
    frames.wait(config.start_with)
    million = sum(p.numel() for p in model.parameters()) / 1e6
    trainer.log.say(f"{len(frames)} pictures to begin with, {million:.1f} M parameters")
    trainer.run(frames)
    frames.close()
    return model


class _Trainer:
    """The state of a run: model, optimiser, code usage, step."""

    def __init__(self, config: TokenizerTraining, model: VisionTokenizer, device: torch.device) -> None:
        self.config, self.model, self.device = config, model, device
        self.log = RunLog(config.out)
        self.table = model.quantize.embedding.weight
        with torch.no_grad():
            self.table.copy_(F.normalize(torch.randn_like(self.table), dim=1))
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=config.rate, betas=(0.9, 0.95), weight_decay=1e-4,
            fused=device.type == "cuda",
        )  # fmt: skip
        self.usage = Usage(len(self.table), decay=0.99, device=device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step, self.quantising = 0, False
        compiled = device.type == "cuda"
        self.latent = torch.compile(model.latent) if compiled else model.latent
        self.reconstruct = torch.compile(model.reconstruct) if compiled else model.reconstruct

    def run(self, frames: FramePool) -> None:
        """Train to the end of the schedule."""
        config, log = self.config, self.log
        schedule = Schedule(
            steps=config.steps, minutes=config.minutes, warm_up=config.warm_up, start_step=self.step
        )
        saved_s = time.monotonic()
        while (done := schedule.progress(self.step)) < 1.0:
            for group in self.optimiser.param_groups:
                group["lr"] = config.rate * schedule.rate(self.step, done)
            figures = self.update(to_model(frames.draw(config.batch_size // 2, self.generator)), done)
            self.step += 1
            if self.step % 20 == 0 or self.step == 1:
                log.write(self.step, figures)
            if time.monotonic() - saved_s > config.save_every_s:
                self.save()
                saved_s = time.monotonic()
        self.save()
        log.close()

    def update(self, images: Tensor, done: float) -> dict[str, Tensor | float]:
        """One step of the optimiser on images [B, 3, H, W] in [-1, 1]; B/2 scenes, then a step later."""
        config = self.config
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            latent = self.latent(images)
        z = unit(latent)
        if not self.quantising and done >= config.continuous_share:
            self.start_codes(z)
        moved = drift(z, images)
        figures: dict[str, Tensor | float] = {"drift": moved.detach()}
        extra = config.drift_weight * moved
        if self.quantising:
            found = quantise(z, self.table, temperature=config.temperature, commitment=config.commitment)
            z = found.codes
            extra = extra + config.quantise_weight * found.loss
            self.usage.add(found.ids)
            figures["quantise"] = found.loss.detach()
        else:
            crowding = crowdedness(z, self.generator)
            figures["crowding"] = crowding.detach()
            extra = extra + config.crowding_weight * crowding
        with torch.autocast(self.device.type, torch.bfloat16):
            out = self.reconstruct(z.to(images.dtype))
        loss, parts = picture_loss(
            out.float(), images, edge_weight=config.edge_weight, thing_weight=config.thing_weight
        )
        (loss + extra).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.table.copy_(F.normalize(self.table, dim=1))
        if self.quantising and self.step % config.restart_every == 0 and done < config.restart_until:
            figures["restarted"] = self.usage.restart(self.table, unit(latent), 0.03, self.generator)
        figures["used"] = int((self.usage.count > 0.03).sum()) if self.quantising else 0
        return {"loss": loss.detach(), **parts, **figures, "rate": self.optimiser.param_groups[0]["lr"]}

    @torch.no_grad()
    def start_codes(self, z: Tensor) -> None:
        """Take codes from present latents [B, D, h, w]; from here on the run quantises."""
        self.quantising = True
        self.usage.count.zero_()
        self.usage.restart(self.table, z, 1.0, self.generator)

    def save(self) -> None:
        """Write the run's state, and a checkpoint: a run that is cut leaves a tokenizer."""
        save_state(self.config.out, self.state())
        save_vision_tokenizer(self.model, self.config.out / "checkpoint", dtype=torch.bfloat16)

    def state(self) -> dict:
        """All that a later run needs to go on."""
        return {
            "step": self.step,
            "quantising": self.quantising,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "usage": self.usage.count,
            "generator": self.generator.get_state(),
            "config": {name: str(value) for name, value in asdict(self.config).items()},
        }

    def resume(self) -> None:
        """Go on from the run's saved state, if there is one."""
        state = load_state(self.config.out, self.device)
        if state is None:
            return
        self.step, self.quantising = state["step"], state["quantising"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.usage.count.copy_(state["usage"])
        self.generator.set_state(state["generator"].cpu())
        self.log.say(f"going on from step {self.step}")


def drift(latent: Tensor, images: Tensor) -> Tensor:
    """How far latents move where nothing happens, as a share of the latents' variance.

    Group norm and attention let a change anywhere move every latent a little, and codes flip: noise
    that a language model would have to predict.

    Args:
        latent: [B, D, h, w]; the second half of the batch is the first half, a step later.
        images: [B, 3, H, W] in [-1, 1].
    """
    before, after = images.chunk(2)
    size = images.shape[3] // latent.shape[3]
    change = F.max_pool2d((before - after).abs().amax(dim=1), size)
    still = (change < _STILL).float()
    first, second = latent.chunk(2)
    distance = (first - second).square().sum(dim=1)
    variance = latent.var(dim=(0, 2, 3)).sum()
    return (distance * still).sum() / still.sum().clamp_min(1) / variance


def picture_loss(
    out: Tensor, target: Tensor, *, edge_weight: float, thing_weight: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of pictures [B, 3, H, W] in [-1, 1], its parts, and the PSNR in dB of all and of `things`."""
    near = things(target)
    weight = 1 + thing_weight * near
    weight = weight / weight.mean()
    error = out - target
    absolute = (weight * error.abs()).mean()
    squared = (weight * error.square()).mean()
    edges = (weight[:, :, 1:] * (_down(out) - _down(target)).abs()).mean()
    edges = edges + (weight[:, :, :, 1:] * (_right(out) - _right(target)).abs()).mean()
    seen = error.detach().square().mean(dim=1, keepdim=True)
    return absolute + squared + edge_weight * edges, {
        "absolute": absolute.detach(),
        "edges": edges.detach(),
        "psnr": _decibel(seen.mean()),
        "psnr_things": _decibel((seen * near).sum() / near.sum().clamp_min(1.0)),
    }


def things(target: Tensor) -> Tensor:
    """1 within 8 px of an edge of a picture, else 0: [B, 1, H, W] for pictures [B, 3, H, W] in [-1, 1]."""
    edge = F.pad(_down(target).abs().amax(dim=1, keepdim=True), (0, 0, 1, 0))
    edge = torch.maximum(edge, F.pad(_right(target).abs().amax(dim=1, keepdim=True), (1, 0, 0, 0)))
    return (F.max_pool2d(edge, 17, stride=1, padding=8) > _EDGE).float()


def _decibel(squared: Tensor) -> Tensor:
    return 10 * torch.log10(4.0 / squared.clamp_min(1e-10))


def _down(x: Tensor) -> Tensor:
    return x[:, :, 1:] - x[:, :, :-1]


def _right(x: Tensor) -> Tensor:
    return x[:, :, :, 1:] - x[:, :, :, :-1]
