"""What the products of a layer cost, by rows: bfloat16, and float8 in several ways to multiply.

    python -m tools.bench_products --config full

Microseconds on the device, as recorded work, on copies of each weight in turn so that none is found in a
cache. Needs no more of the packages than the model does. Says what Fp8Config should be on a card.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from emu_planner.cli.bench_engine_model import name_of, seconds_of, size_of
from emu_planner.model.fp8 import Fp8Config, multiply, multiply_scaled, quantise
from emu_planner.model.transformer import TransformerConfig

_COPIES = 8
_ROWS = (1, 2, 4, 16, 64)


def shapes_of(config: TransformerConfig, ranks: int = 1) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each product of a block, of one of so many processes that share it."""
    width, inner = config.hidden_size, config.intermediate_size // ranks
    heads = config.num_attention_heads * config.head_dim // ranks
    both = heads + 2 * config.num_key_value_heads * config.head_dim // ranks
    return {
        "qkv": (both, width),
        "out": (width, heads),
        "gate, up": (2 * inner, width),
        "down": (width, inner),
    }


def ways_of(x: Tensor, plain: list[Tensor], small: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[str, Any]]:
    """Ways to multiply x [N, I] by copy i of a weight."""
    rows, scales = quantise(x)
    dtype = x.dtype
    yield "bfloat16", lambda i: F.linear(x, plain[i])
    yield "quantise", lambda _: quantise(x)
    for name, config in {
        "fp8": Fp8Config(),
        "exact sums": Fp8Config(fast_sums=False),
        "16 rows": Fp8Config(padded_rows=16),
        "32 rows": Fp8Config(padded_rows=32),
    }.items():
        yield name, functools.partial(_multiply, rows, small, dtype, config)
    config = Fp8Config()
    yield "scales of rows", lambda i: multiply_scaled(rows, scales, *small[i], dtype, config)


def microseconds(act: Callable[[int], Any], device: torch.device) -> float:
    """Of an act on each of the copies in turn, without what sending it costs."""

    def all_copies() -> None:
        for index in range(_COPIES):
            act(index)

    all_copies()
    if device.type != "cuda":
        return 1e6 * seconds_of(all_copies, device) / _COPIES
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        all_copies()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        all_copies()
    return 1e6 * min(seconds_of(graph.replay, device) for _ in range(10)) / _COPIES


def _multiply(
    rows: Tensor, small: list[tuple[Tensor, Tensor]], dtype: torch.dtype, config: Fp8Config, copy: int
) -> Tensor:
    return multiply(rows, small[copy][0], dtype, config)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="full", help="full, nano or HIDDENxLAYERS (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share it (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where torch finds it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    print(f"{name_of(device)}, torch {torch.__version__}, us a product", flush=True)
    for name, (outputs, inputs) in shapes_of(size_of(args.config), args.ranks).items():
        plain = [torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) for _ in range(_COPIES)]
        small = [(rows, scales[:, 0]) for rows, scales in map(quantise, plain)]
        for count in _ROWS:
            x = torch.randn(count, inputs, device=device, dtype=torch.bfloat16)
            told = [f"{way} {microseconds(act, device):.1f}" for way, act in ways_of(x, plain, small)]
            print(f"{name} {outputs}x{inputs}, {count} rows: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
