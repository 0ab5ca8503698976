"""What a token costs in several ways of computing it, in one run: plain, recorded, float8, several GPUs.

    python -m tools.bench_ways --config full
    torchrun --nproc-per-node 2 -m tools.bench_ways --config full

A way is some of these words, joined by +: `graphs` (recorded passes), `fp8` (weights of 8 bits), `ranks`
(all processes of torchrun share the model; without it the first one computes and the others wait).
`plain` has none of them. Weights are random, the same in all ways. Beside times stands how far the
logits after a text are from those of the first way: on random weights that tells rounding from
mistakes, and no quality. Needs no more of the packages than the model does.
"""

import argparse
import gc
import itertools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emu_planner.cli.arguments import positive
from emu_planner.cli.bench_engine_model import (
    Bench,
    bytes_a_token,
    name_of,
    prepare,
    random_model,
    read_bandwidth,
    size_of,
    tokens_of,
)
from emu_planner.engine.decoders import Decoder, decoder_of
from emu_planner.engine.ranks import Ranks, are_launched, join
from emu_planner.model.fp8 import Fp8Config, Fp8Linear
from emu_planner.model.transformer import TransformerConfig

_WORDS = ("graphs", "fp8", "ranks")
_ALONE = "plain,graphs,graphs+fp8"
_TOGETHER = "graphs,graphs+fp8,graphs+ranks,graphs+fp8+ranks"
# tokens of the text whose logits are compared
_COMPARED = 64


@dataclass(frozen=True)
class Way:
    """How a token is computed."""

    name: str
    graphs: bool
    fp8: bool
    ranks: bool


def way_of(name: str) -> Way:
    """The way of that name. ValueError: it has a word that is none."""
    words = [] if name == "plain" else name.split("+")
    if wrong := [word for word in words if word not in _WORDS]:
        raise ValueError(f"way {name}: {wrong} are none of {', '.join(_WORDS)}; or plain")
    return Way(name, *(word in words for word in _WORDS))


def measure(way: Way, args: argparse.Namespace, ranks: Ranks | None, device: torch.device) -> dict[str, Any]:
    """The figures of a way, and `logits` [S, V] of a text. Every process that takes part calls it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    mesh = ranks.mesh if ranks is not None and way.ranks else None
    config, dtype = _config(args), getattr(torch, args.dtype)
    model = random_model(config, device, dtype, fp8=way.fp8, mesh=mesh)
    for part in model.modules():
        if isinstance(part, Fp8Linear):
            part.config = Fp8Config(padded_rows=args.padded_rows)
    bench = prepare(model, args.context, args.pixels // 16)
    decoder = decoder_of(model, graphs=way.graphs)
    figures: dict[str, Any] = {}
    _time_codes(decoder, bench, args.steps, figures)
    _time_words(decoder, bench, args.steps, figures)
    figures["bytes a token here"] = bytes_a_token(bench)
    with torch.inference_mode():
        ids = torch.arange(_COMPARED, device=device)[None] % 100
        figures["logits"] = model(ids)[0].cpu()
    if device.type == "cuda":
        figures["peak memory here, GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return figures


def _time_codes(decoder: Decoder, bench: Bench, steps: int, figures: dict[str, Any]) -> None:
    """Milliseconds a code with guidance, and seconds of the prompt, once all is warm."""
    first = bench.vocabulary.first_visual
    for _ in range(2):
        branches = decoder.branches(capacity=bench.capacity, unconditional=bench.unconditional)
        began_s, times = time.perf_counter(), []
        codes = (t for t in tokens_of(bench, branches, decoder.generate, 1) if t.id >= first)
        for _ in itertools.islice(codes, min(steps, bench.side**2)):
            times.append(time.perf_counter())
        del codes, branches
    figures["prompt, s"] = times[0] - began_s
    figures["ms/code"] = 1e3 * (times[-1] - times[0]) / max(1, len(times) - 1)


def _time_words(decoder: Decoder, bench: Bench, steps: int, figures: dict[str, Any]) -> None:
    """Milliseconds a word."""
    words = replace(bench, prompt=bench.prompt[:-1])
    branches = decoder.branches(capacity=bench.capacity + steps, unconditional=bench.unconditional)
    tokens = tokens_of(words, branches, decoder.generate, 1)
    for _ in itertools.islice(tokens, 3):
        pass
    began_s = time.perf_counter()
    count = sum(1 for _ in itertools.islice(tokens, steps))
    figures["ms/word"] = 1e3 * (time.perf_counter() - began_s) / max(1, count)


def compare(found: Tensor, expected: Tensor) -> dict[str, float]:
    """How far logits [S, V] are from others: relative error, and share of places with the same best id."""
    found, expected = found.double(), expected.double()
    found, expected = (x - x.mean(dim=-1, keepdim=True) for x in (found, expected))
    return {
        "logits, relative error": float((found - expected).norm() / expected.norm()),
        "same best id": float((found.argmax(-1) == expected.argmax(-1)).double().mean()),
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All figures; of the first process, where there are several."""
    ranks = join(args.device) if are_launched() else None
    kind = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(kind) if ranks is None else ranks.device
    leads = ranks is None or ranks.leads
    found: dict[str, Any] = {}
    if leads:
        found = {
            "config": args.config,
            "device": name_of(device),
            "dtype": args.dtype,
            "torch": torch.__version__,
        }
        found |= {"processes": ranks.size if ranks else 1, "context": args.context, "ways": {}}
        found["bandwidth, GB/s"] = read_bandwidth(device) / 1e9
        print("\n".join(f"{name}: {value}" for name, value in found.items() if name != "ways"), flush=True)
    expected: Tensor | None = None
    for way in map(way_of, (args.ways or (_ALONE if ranks is None else _TOGETHER)).split(",")):
        if leads or way.ranks:
            figures = measure(way, args, ranks, device)
            logits = figures.pop("logits")
            expected = logits if expected is None else expected
            figures |= compare(logits, expected)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
        if leads:
            found["ways"][way.name] = figures
            _tell(way.name, figures, found)
        if ranks is not None:
            ranks.meet()
    if ranks is not None:
        ranks.leave()
    return found


def _config(args: argparse.Namespace) -> TransformerConfig:
    config = size_of(args.config)
    return config if args.layers is None else replace(config, num_hidden_layers=args.layers)


def _tell(name: str, figures: dict[str, Any], found: dict[str, Any]) -> None:
    first_name, first = next(iter(found["ways"].items()))
    figures["ceiling, ms/code"] = figures["bytes a token here"] / found["bandwidth, GB/s"] / 1e6
    figures["share of the ceiling"] = figures["ceiling, ms/code"] / figures["ms/code"]
    figures[f"times {first_name}"] = first["ms/code"] / figures["ms/code"]
    told = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
    print(f"{name}: {told}", flush=True)


def main() -> None:
    """Measure, tell, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="nano", help="full, nano or HIDDENxLAYERS (default: %(default)s)")
    parser.add_argument("--layers", type=positive, help="so many layers instead")
    parser.add_argument("--ways", help=f"comma-separated (default: {_ALONE}; of torchrun {_TOGETHER})")
    parser.add_argument("--context", type=positive, default=2048, help="tokens before it (%(default)s)")
    parser.add_argument("--steps", type=positive, default=96, help="tokens that are timed (%(default)s)")
    parser.add_argument("--pixels", type=positive, default=256, help="side of the picture (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where torch finds it")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="%(default)s")
    parser.add_argument("--padded-rows", type=int, default=0, help="see Fp8Config (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = run(args)
    if args.json and found:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
