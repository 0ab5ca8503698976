"""What weights of 8 bits do to a checkpoint: its logits beside those of the weights as stored, in one run.

    python -m tools.check_fp8 --checkpoint nano --scenes 20

The model reads the oracle's plans of held-out scenes, words and pictures, once with its own weights and
once with rounded ones. Of words and of visual codes apart, among the ids that the grammar allows: how
surprised it is at what really comes (nats a token, less is better) with either, the share of places where
both find the same id most likely, and how far their probabilities are apart (Kullback-Leibler, nats).
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emu_planner.engine import picture
from emu_planner.engine.loaded import LoadedParts, load_parts
from emu_planner.model.checkpoint import load_transformer, resolve
from emu_planner.model.prompt import AnswerStep, Kind, TokenSequence, vla_sequence
from emu_planner.model.transformer import Transformer
from sim.bench.suite import read_suite
from sim.episode import imagine, oracle_chooser, run
from sim.world import World

FIGURES = ("tokens", "nats", "nats, fp8", "same best id", "apart, nats")


def plans(parts: LoadedParts, suite: str, scenes: int) -> Iterator[TokenSequence]:
    """The oracle's plan of each scene, as the model would write it."""
    with World() as world:
        for wanted in read_suite(suite).first(scenes).scenes:
            scene = world.reset(wanted.family, wanted.seed, wanted.robot)
            episode = run(world, oracle_chooser(scene), imagine)
            grids = [picture.encode(parts.vision, rgb) for rgb in episode.pictures]
            steps = [
                AnswerStep(taken.subgoal, grid) for taken, grid in zip(episode.steps, grids[1:], strict=True)
            ]
            yield vla_sequence(parts.tokenizer, scene.instruction, grids[:1], steps)


def compare(logits: Tensor, rounded: Tensor, true: Tensor) -> np.ndarray:
    """FIGURES, as sums over places, of logits [N, V] of both and what really comes [N]."""
    own, other = logits.double().log_softmax(-1), rounded.double().log_softmax(-1)
    return np.array(
        [
            len(true),
            float(F.nll_loss(own, true, reduction="sum")),
            float(F.nll_loss(other, true, reduction="sum")),
            float((own.argmax(-1) == other.argmax(-1)).sum()),
            float((own.exp() * (own - other)).sum()),
        ]
    )


@torch.inference_mode()
def judge(
    models: tuple[Transformer, Transformer], parts: LoadedParts, sequence: TokenSequence
) -> dict[str, np.ndarray]:
    """FIGURES of a plan's words and codes, as sums."""
    v, device = parts.tokenizer.vocabulary, models[0].lm_head.weight.device
    ids = torch.from_numpy(sequence.ids.astype(np.int64)).to(device)
    states = [model.hidden(ids[None, :-1])[0] for model in models]
    kinds, following = torch.from_numpy(sequence.kinds[1:]).to(device), ids[1:]
    found = {}
    # forced tokens are neither
    for name, kind, first, stop in (
        ("words", Kind.TEXT, 0, v.first_visual),
        ("codes", Kind.VISUAL, v.first_visual, v.first_visual + v.codes),
    ):
        places = (kinds == kind) & (following >= first) & (following < stop)
        own, other = (
            model.head(x[places], slice(first, stop)) for model, x in zip(models, states, strict=True)
        )
        found[name] = compare(own, other, following[places] - first)
    return found


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id (%(default)s)")
    parser.add_argument("--suite", default="quick", help="of held-out scenes (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=20, help="its first N (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = resolve(args.checkpoint)
    parts = load_parts(folder, device=args.device)
    models = parts.model, load_transformer(folder, device=args.device, fp8=True)
    sums = {name: np.zeros(len(FIGURES)) for name in ("words", "codes")}
    for sequence in plans(parts, args.suite, args.scenes):
        for name, figures in judge(models, parts, sequence).items():
            sums[name] += figures
    for name, (count, *rest) in sums.items():
        told = (f"{figure} {value / count:.4g}" for figure, value in zip(FIGURES[1:], rest, strict=True))
        print(f"{name}: {count:.0f} tokens, {', '.join(told)}")


if __name__ == "__main__":
    main()
