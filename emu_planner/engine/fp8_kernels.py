"""What stands between float8 products, one kernel each: fp8_pieces.py says what they do. Needs Triton.

A row, or a head of a row, is one program: passes here have a few rows. All is computed in float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from emu_planner.engine.fp8_pieces import Added
from emu_planner.model.fp8_kernel import store_row, warps


def try_all(device: torch.device, dtype: torch.dtype, head_size: int) -> None:
    """Run each once on toy values."""
    x = torch.ones(2, 2 * head_size, device=device, dtype=dtype)
    ones = torch.ones(2 * head_size, device=device)
    rows, scales = add_and_quantise(x, Added(x.clone(), ones[:2, None], ones), x[0], 1e-6)
    add_and_quantise(x, None, x[0], 1e-6)
    add_and_quantise(x, Added(x.clone(), None, None), x[0], 1e-6)
    gate_and_quantise(x, scales, ones)
    turn = x[:, :head_size]
    scale_and_rotate(x, scales, ones, x[:1, :head_size], (turn, turn), 1e-6)
    assert rows.shape == x.shape


def add_and_quantise(
    stream: Tensor, added: Added | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See fp8_pieces."""
    count, size = stream.shape
    rows = torch.empty(stream.shape, device=stream.device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(count, 1, device=stream.device, dtype=torch.float32)
    block = triton.next_power_of_2(size)
    made, by_row, by_output = added or Added(stream, None, None)
    _add_and_quantise[(count,)](
        stream, made, scales if by_row is None else by_row, scales if by_output is None else by_output,
        weight, rows, scales, size, eps,
        ADDS=added is not None, SCALED=by_row is not None, BLOCK=block, num_warps=warps(block),
    )  # fmt: skip
    return rows, scales


def scale_and_rotate(
    made: Tensor, scales: Tensor, scale: Tensor, norms: Tensor, rope: tuple[Tensor, ...], eps: float
) -> Tensor:
    """See fp8_pieces."""
    cos, sin = (part.contiguous() for part in rope)
    turned, size = norms.shape
    heads = made.shape[1] // size
    out = torch.empty(len(made), heads, size, device=made.device, dtype=made.dtype)
    _scale_and_rotate[(len(made), heads)](
        made, scales, scale, norms.contiguous(), cos, sin, out, heads, turned, eps,
        SIZE=size, HALF=size // 2, num_warps=1,
    )  # fmt: skip
    return out


def gate_and_quantise(made: Tensor, scales: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """See fp8_pieces."""
    count, size = len(made), made.shape[1] // 2
    rows = torch.empty(count, size, device=made.device, dtype=torch.float8_e4m3fn)
    found = torch.empty(count, 1, device=made.device, dtype=torch.float32)
    block = triton.next_power_of_2(size)
    _gate_and_quantise[(count,)](made, scales, scale, rows, found, size, BLOCK=block, num_warps=warps(block))
    return rows, found


@triton.jit
def _add_and_quantise(  # type: ignore[no-untyped-def]
    stream_ptr, made_ptr, by_row_ptr, by_output_ptr, weight_ptr, rows_ptr, scales_ptr, size, eps,
    ADDS: tl.constexpr, SCALED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < size
    place = row.to(tl.int64) * size + at
    x = tl.load(stream_ptr + place, mask=inside, other=0.0).to(tl.float32)
    if ADDS:
        made = tl.load(made_ptr + place, mask=inside, other=0.0).to(tl.float32)
        if SCALED:
            made = made * tl.load(by_row_ptr + row) * tl.load(by_output_ptr + at, mask=inside, other=0.0)
        # as the stream keeps it
        kept = (x + made).to(stream_ptr.dtype.element_ty)
        tl.store(stream_ptr + place, kept, mask=inside)
        x = kept.to(tl.float32)
    weight = tl.load(weight_ptr + at, mask=inside, other=0.0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, axis=0) / size + eps) * weight
    store_row(y, at, rows_ptr, scales_ptr, row, size, inside)


@triton.jit
def _scale_and_rotate(  # type: ignore[no-untyped-def]
    made_ptr, scales_ptr, scale_ptr, norms_ptr, cos_ptr, sin_ptr, out_ptr, heads, turned, eps,
    SIZE: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    head = tl.program_id(1)
    at = tl.arange(0, HALF)
    place = (row.to(tl.int64) * heads + head) * SIZE + at
    by_row = tl.load(scales_ptr + row)
    first = tl.load(made_ptr + place).to(tl.float32) * by_row * tl.load(scale_ptr + head * SIZE + at)
    second = tl.load(made_ptr + place + HALF).to(tl.float32) * by_row
    second = second * tl.load(scale_ptr + head * SIZE + HALF + at)
    if head < turned:
        mean = (tl.sum(first * first, axis=0) + tl.sum(second * second, axis=0)) / SIZE
        first = first * tl.rsqrt(mean + eps) * tl.load(norms_ptr + head * SIZE + at).to(tl.float32)
        second = second * tl.rsqrt(mean + eps) * tl.load(norms_ptr + head * SIZE + HALF + at).to(tl.float32)
        # both halves have the same angles
        cos = tl.load(cos_ptr + row * SIZE + at).to(tl.float32)
        sin = tl.load(sin_ptr + row * SIZE + at).to(tl.float32)
        before = first
        first = before * cos - second * sin
        second = second * cos + before * sin
    tl.store(out_ptr + place, first.to(out_ptr.dtype.element_ty))
    tl.store(out_ptr + place + HALF, second.to(out_ptr.dtype.element_ty))


@triton.jit
def _gate_and_quantise(  # type: ignore[no-untyped-def]
    made_ptr, by_row_ptr, by_output_ptr, rows_ptr, scales_ptr, size, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < size
    place = row.to(tl.int64) * 2 * size + at
    by_row = tl.load(by_row_ptr + row)
    gate = tl.load(made_ptr + place, mask=inside, other=0.0).to(tl.float32) * by_row
    gate = gate * tl.load(by_output_ptr + at, mask=inside, other=0.0)
    up = tl.load(made_ptr + place + size, mask=inside, other=0.0).to(tl.float32) * by_row
    up = up * tl.load(by_output_ptr + size + at, mask=inside, other=0.0)
    store_row(gate * tl.sigmoid(gate) * up, at, rows_ptr, scales_ptr, row, size, inside)
