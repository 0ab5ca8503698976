"""Who sees whom in packed rows, as attention takes it. Knows document numbers and layouts, no model.

See packing.Layout for blocks and horizons.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask


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
