"""What others ask of a model that may be shared between processes (parallel.py), without importing that."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from emu_planner.model.transformer import Transformer

# The sum of a tensor over the processes that share a model.
Reduce = Callable[[Tensor], Tensor]


def reducer(model: Transformer) -> Reduce | None:
    """What completes a product whose inputs are spread over processes; None: they are not."""
    return cast(Reduce | None, getattr(model, "reduce", None))


def local(weight: Tensor) -> Tensor:
    """This process's part of a weight: the very tensor, which may be put elsewhere."""
    if not hasattr(weight, "to_local"):
        return weight.detach()
    with torch.no_grad():  # else it is a view
        return cast(Tensor, weight.to_local())


def is_cut_by_inputs(weight: Tensor) -> bool:
    """Whether processes have other inputs of this weight [O, I]."""
    return any(placement.is_shard(1) for placement in getattr(weight, "placements", ()))
