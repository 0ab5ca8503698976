"""Rows to float8 in one kernel: greatest value, scale, rounding. Needs Triton; knows no layer.

Shapes: N rows, I values in each.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# of float8 e4m3, and what a row of zeros has instead of 0: see fp8.py
_GREATEST, _LEAST = tl.constexpr(448.0), tl.constexpr(1e-12)


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """As fp8.quantise of x [N, I]."""
    x = x.contiguous()
    count, size = x.shape
    rows = torch.empty(x.shape, device=x.device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(count, 1, device=x.device, dtype=torch.float32)
    block = triton.next_power_of_2(size)
    _quantise[(count,)](x, rows, scales, size, BLOCK=block, num_warps=warps(block))
    return rows, scales


def warps(block: int) -> int:
    """Warps for a block of so many values."""
    return min(16, max(1, block // 512))


@triton.jit
def store_row(y, at, rows_ptr, scales_ptr, row, size, inside):  # type: ignore[no-untyped-def]
    """Put y, float32, into a row as float8, and its scale beside it."""
    greatest = tl.max(tl.abs(y), axis=0)
    scale = tl.maximum(greatest, _LEAST) / _GREATEST
    rounded = tl.minimum(tl.maximum(y / scale, -_GREATEST), _GREATEST)
    tl.store(rows_ptr + row.to(tl.int64) * size + at, rounded.to(tl.float8e4nv), mask=inside)
    tl.store(scales_ptr + row, scale)


@triton.jit
def _quantise(x_ptr, rows_ptr, scales_ptr, size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < size
    x = tl.load(x_ptr + row.to(tl.int64) * size + at, mask=inside, other=0.0).to(tl.float32)
    store_row(x, at, rows_ptr, scales_ptr, row, size, inside)
