"""Attention of one or two tokens to a long cache, on a GPU: split over slots (flash-decoding).

A key is read once for all the query heads that share it. Row lengths are read on the device, so one
recording serves every length, and slots past a row's end are never read. Numerics: scores, softmax
and sums in float32. Needs Triton; see DeviceDecoder for what uses it. Knows no layer and no token.

Shapes: R rows, S tokens, H query heads, K key/value heads, G = S * H / K queries a key, D head size,
C slots, P parts that the slots are split into.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# slots in one block of a part
_BLOCK = 64
# parts a row and key/value head, at most: enough to fill a GPU of 132 processors with two rows of 8
_PARTS = 16


def attend_split(q: Tensor, keys: Tensor, values: Tensor, positions: Tensor) -> Tensor:
    """Attention [R, H, S, D]: see step.Attend.

    Args:
        q: [R, H, S, D].
        keys, values: [R, K, C, D], last dimension contiguous.
        positions: [R, S] int64; token i of row r sees slots 0 to positions[r, i].
    """
    rows, heads, new, size = q.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads * new
    padded = max(16, triton.next_power_of_2(group))
    # [R, K, G, D]
    q = q.reshape(rows, kv_heads, group, size)
    if q.stride()[1:] != (group * size, size, 1):
        q = q.contiguous()
    sums = torch.empty(rows, kv_heads, _PARTS, group, size, device=q.device, dtype=torch.float32)
    # of each part the greatest score and the sum of exponentials
    scales = torch.empty(rows, kv_heads, _PARTS, group, 2, device=q.device, dtype=torch.float32)
    out = torch.empty(q.shape, device=q.device, dtype=q.dtype)
    _part[(kv_heads, _PARTS, rows)](
        q, keys, values, positions, sums, scales, size**-0.5, q.stride(0),
        *keys.stride()[:3], *values.stride()[:3], kv_heads,
        NEW=new, GROUP=group, PADDED=padded, SIZE=size, BLOCK=_BLOCK, PARTS=_PARTS,
        num_warps=4, num_stages=3 if q.itemsize == 2 else 2,
    )  # fmt: skip
    _join[(rows * kv_heads * group,)](sums, scales, out, GROUP=group, SIZE=size, PARTS=_PARTS, num_warps=1)
    return out.view(rows, heads, new, size)


@triton.jit
def _part(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, v_ptr, positions_ptr, sums_ptr, scales_ptr, scale, q_row,
    k_row, k_head, k_slot, v_row, v_head, v_slot, kv_heads,
    NEW: tl.constexpr, GROUP: tl.constexpr, PADDED: tl.constexpr, SIZE: tl.constexpr,
    BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """One part of the slots of one row and key/value head."""
    head, part, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    queries = tl.arange(0, PADDED)
    sizes = tl.arange(0, SIZE)
    real = queries < GROUP
    last = tl.load(positions_ptr + row * NEW + queries % NEW)
    length = tl.load(positions_ptr + row * NEW + NEW - 1) + 1
    blocks = tl.cdiv(tl.cdiv(length, PARTS), BLOCK)
    begin = part * blocks * BLOCK
    end = tl.minimum(begin + blocks * BLOCK, length)
    place = row * kv_heads + head
    q = tl.load(
        q_ptr + row * q_row + (head * GROUP + queries[:, None]) * SIZE + sizes[None, :],
        mask=real[:, None],
        other=0.0,
    )
    greatest = tl.full((PADDED,), -1e30, tl.float32)
    total = tl.zeros((PADDED,), tl.float32)
    sums = tl.zeros((PADDED, SIZE), tl.float32)
    for start in range(begin, end, BLOCK):
        slots = start + tl.arange(0, BLOCK)
        held = slots < end
        k = tl.load(
            k_ptr + row * k_row + head * k_head + slots[None, :] * k_slot + sizes[:, None],
            mask=held[None, :],
            other=0.0,
        )
        scores = tl.dot(q, k, input_precision="ieee") * scale
        seen = held[None, :] & (slots[None, :] <= last[:, None])
        scores = tl.where(seen, scores, -1e30)
        new_greatest = tl.maximum(greatest, tl.max(scores, 1))
        weights = tl.where(seen, tl.exp(scores - new_greatest[:, None]), 0.0)
        shrink = tl.exp(greatest - new_greatest)
        total = total * shrink + tl.sum(weights, 1)
        v = tl.load(
            v_ptr + row * v_row + head * v_head + slots[:, None] * v_slot + sizes[None, :],
            mask=held[:, None],
            other=0.0,
        )
        sums = sums * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        greatest = new_greatest
    at = (place * PARTS + part) * GROUP + queries
    tl.store(sums_ptr + at[:, None] * SIZE + sizes[None, :], sums, mask=real[:, None])
    tl.store(scales_ptr + at * 2, greatest, mask=real)
    tl.store(scales_ptr + at * 2 + 1, total, mask=real)


@triton.jit
def _join(  # type: ignore[no-untyped-def]
    sums_ptr, scales_ptr, out_ptr, GROUP: tl.constexpr, SIZE: tl.constexpr, PARTS: tl.constexpr
):
    """The parts of one query together."""
    query = tl.program_id(0).to(tl.int64)
    place, member = query // GROUP, query % GROUP
    parts, sizes = tl.arange(0, PARTS), tl.arange(0, SIZE)
    at = (place * PARTS + parts) * GROUP + member
    greatest = tl.load(scales_ptr + at * 2)
    factors = tl.exp(greatest - tl.max(greatest, 0))
    total = tl.sum(tl.load(scales_ptr + at * 2 + 1) * factors, 0)
    sums = tl.load(sums_ptr + at[:, None] * SIZE + sizes[None, :])
    out = tl.sum(sums * factors[:, None], 0) / total
    tl.store(out_ptr + query * SIZE + sizes, out.to(out_ptr.dtype.element_ty))
