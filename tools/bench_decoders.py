"""Compare the decoders: passes and seconds an image, beside the raster decoder in the same run.

    python tools/bench_decoders.py                      random weights of nano's size: the worst guesses
    python tools/bench_decoders.py --toy /tmp/toy.pt    one plan known by heart (learned first: minutes)
    python tools/bench_decoders.py --checkpoint nano    scenes of the simulator, first keyframe of each
    python tools/bench_decoders.py --checkpoint dida/checkpoint --steps 4,8,16      an adapted one

Seconds are CPU time of the one thread that computes, so that other programs disturb them little; the
decoders take turns image by image. "equal" counts images with the raster decoder's very codes, "codes"
is the share of its codes. A model that is not adapted to dida is not made to use it; the toy and random
weights are, for its passes and seconds alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emu_planner.engine import picture
from emu_planner.engine.branches import Branches
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.dida import DidaConfig
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.jacobi import JacobiConfig
from emu_planner.engine.prepack import prepack
from emu_planner.engine.raster import Decoding, Draft
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.checkpoint import load_transformer, load_vision_tokenizer, resolve
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.prompt import (
    AnswerStep,
    TokenSequence,
    unconditional_prompt,
    vla_prompt,
    vla_sequence,
)
from emu_planner.model.text import TextTokenizer, train_bpe
from emu_planner.model.transformer import Transformer, TransformerConfig

NANO_GRID, NANO_CODES = (12, 24), 8192
INSTRUCTION, SUBGOAL = "stack the red block on the blue block", "lift the red block"


@dataclass(frozen=True)
class Case:
    """One image to generate: prompts, with and without words, and its size in tokens."""

    prompt: list[int]
    unconditional: list[int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Result:
    """What one image took."""

    codes: tuple[int, ...]
    passes: int
    cpu_s: float


def main() -> None:
    """Run it."""
    args = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, tokenizer, config, cases, vectors = subject(args)
    prepack(model)
    sampling = Sampling(args.temperature, args.top_k, args.top_p)
    config = replace(config, image=sampling, text=Sampling(0.0), guidance_scale=args.guidance)
    decoders = {"raster": replace(config, decoder="raster")}
    for window in args.windows:
        for previous in (True, False):
            name = f"jacobi {window}" + ("" if previous else ", no picture")
            settings = JacobiConfig(window=window, previous=previous)
            decoders[name] = replace(config, decoder="jacobi", jacobi=settings)
    if config.dida is not None:
        for steps in args.steps:
            settings_ = replace(config.dida, steps=steps)
            decoders[f"dida {steps}"] = replace(config, decoder="dida", dida=settings_)
    results: dict[str, list[Result]] = {name: [] for name in decoders}
    for seed, case in enumerate(cases):
        for name, decoder in decoders.items():
            results[name].append(decode(model, tokenizer, decoder, case, seed, vectors))
    show(results)


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", help="nano, a folder or a hub id")
    parser.add_argument("--toy", type=Path, help="file of the toy's weights; learned when it is not there")
    parser.add_argument("--images", type=int, default=3)
    for name, default in (("--windows", [16, 32, 64]), ("--steps", [4, 8, 16])):
        parser.add_argument(name, type=lambda text: [int(n) for n in text.split(",")], default=default)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--float32", action="store_true", help="instead of bfloat16")
    return parser.parse_args()


def subject(
    args: argparse.Namespace,
) -> tuple[Transformer, TextTokenizer, PlannerConfig, list[Case], Tensor]:
    """The model that is asked for, images for it to make, and its codes' vectors."""
    dtype = torch.float32 if args.float32 else torch.bfloat16
    if args.checkpoint:
        folder = resolve(args.checkpoint)
        config, tokenizer = PlannerConfig.from_folder(folder), TextTokenizer.from_folder(folder)
        vision = load_vision_tokenizer(folder)
        cases = list(scene_cases(vision, tokenizer, config, args.images))
        return load_transformer(folder, dtype=dtype), tokenizer, config, cases, vision.codes
    tokenizer = TextTokenizer(train_bpe([INSTRUCTION, SUBGOAL] * 3, 30), NANO_CODES)
    model = Transformer(
        TransformerConfig(tokenizer.vocabulary.size, 384, 1024, 12, 6, 3, 64, max_position_embeddings=4096)
    )
    model.initialise(0)
    case, plan = toy_plan(tokenizer)
    if args.toy and not args.toy.exists():
        learn(model, plan)
        torch.save(model.state_dict(), args.toy)
    if args.toy:
        model.load_state_dict(torch.load(args.toy))
    config = PlannerConfig(dida=DidaConfig())
    return model.eval().to(dtype), tokenizer, config, [case] * args.images, torch.randn(NANO_CODES, 16)


def scene_cases(
    vision: VisionTokenizer, tokenizer: TextTokenizer, config: PlannerConfig, count: int
) -> Iterator[Case]:
    """Scenes of the simulator that no training draws: what is seen, and the instruction."""
    from sim.world import World

    with World() as world:
        for index in range(count):
            world.reset("stack", 1_000_100_000 + index)
            rgb = picture.compose(
                world.observation(), config.views, config.picture_width, config.picture_height
            )
            grid = picture.encode(vision, rgb)
            prompt = vla_prompt(tokenizer, world.scene.instruction, [grid])
            yield Case(prompt, unconditional_prompt(tokenizer, [grid]), (grid.shape[0], grid.shape[1]))


def toy_plan(tokenizer: TextTokenizer) -> tuple[Case, TokenSequence]:
    """A random picture, and a plan whose keyframe differs in a patch of 3x4 and in 5% of the codes."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, NANO_CODES, NANO_GRID)
    keyframe = seen.copy()
    flickers = rng.random(NANO_GRID) < 0.05
    keyframe[flickers] = rng.integers(0, NANO_CODES, flickers.sum())
    top, left = rng.integers(0, NANO_GRID[0] - 3), rng.integers(0, NANO_GRID[1] - 4)
    keyframe[top : top + 3, left : left + 4] = rng.integers(0, NANO_CODES, (3, 4))
    print(f"toy: {np.mean(seen == keyframe):.0%} of the keyframe's codes are the picture's")
    prompt = vla_prompt(tokenizer, INSTRUCTION, [seen])
    prompt += [*tokenizer.encode_plain(SUBGOAL), tokenizer.vocabulary.boi]
    case = Case(prompt, unconditional_prompt(tokenizer, [seen]), NANO_GRID)
    return case, vla_sequence(tokenizer, INSTRUCTION, [seen], [AnswerStep(SUBGOAL, keyframe)])


def learn(model: Transformer, plan: TokenSequence) -> None:
    """Learn one plan by heart."""
    ids = torch.from_numpy(plan.ids.astype(np.int64))[None]
    learned = torch.from_numpy(plan.kinds > 0)[1:]
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.95))
    for step in range(400):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.head(model.hidden(ids)[0, :-1][learned])
        loss = F.cross_entropy(logits, ids[0, 1:][learned])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            print(f"learning: step {step}, loss {loss.item():.3f}", flush=True)
        if loss.item() < 0.02:
            return
    raise SystemExit("the toy did not learn its plan")


@torch.inference_mode()
def decode(
    model: Transformer,
    tokenizer: TextTokenizer,
    config: PlannerConfig,
    case: Case,
    seed: int,
    vectors: Tensor,
) -> Result:
    """Generate up to the end of the first image; its codes, passes and seconds."""
    v = tokenizer.vocabulary
    decoding: Decoding = config.decoding
    guided = decoding.guidance_scale != 1
    branches = Branches(
        model,
        capacity=model.config.max_position_embeddings,
        unconditional=case.unconditional if guided else None,
    )
    generate: Callable = config.generate(vectors)
    tokens = generate(branches, Grammar(v, case.size), Sampler(seed), decoding, case.prompt, boi=v.boi)
    codes: list[int] = []
    passes, begun_s = 0, 0.0
    for token in tokens:
        if isinstance(token, Draft):
            continue
        if not passes and (token.id == v.boi or case.prompt[-1] == v.boi):
            passes, begun_s = branches.passes, time.thread_time()
        if token.id >= v.first_visual:
            codes.append(token.id)
        if token.id == v.eoi:
            break
    return Result(tuple(codes), branches.passes - passes, time.thread_time() - begun_s)


def show(results: dict[str, list[Result]]) -> None:
    """A line a decoder: medians, and ratios to the raster decoder's."""
    base = results["raster"]
    base_s = statistics.median(result.cpu_s for result in base)
    print(f"{'decoder':24} {'passes':>7} {'codes/pass':>10} {'CPU s':>7} {'ratio':>6}  {'codes':>5}  equal")
    for name, images in results.items():
        passes = statistics.median(result.passes for result in images)
        cpu_s = statistics.median(result.cpu_s for result in images)
        equal = sum(a.codes == b.codes for a, b in zip(images, base, strict=True))
        alike = np.mean([np.equal(a.codes, b.codes).mean() for a, b in zip(images, base, strict=True)])
        print(
            f"{name:24} {passes:7.0f} {len(images[0].codes) / passes:10.1f} {cpu_s:7.2f} "
            f"{base_s / cpu_s:6.2f}  {alike:5.0%}  {equal} of {len(images)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
