"""What others ask of a model that may be shared between processes (parallel.py), without importing that."""

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from emu_planner.model.transformer import Transformer

# The sum of a tensor over the processes that share a model.
Reduce = Callable[[Tensor], Tensor]


def reducer(model: Transformer) -> Reduce | None:
    """What completes a product whose inputs are spread over processes; None: they are not."""
    return cast(Reduce | None, getattr(model, "reduce", None))


def local(weight: Tensor) -> Tensor:
    """This process's part of a weight, in its memory."""
    return cast(Tensor, weight.to_local()).detach() if hasattr(weight, "to_local") else weight.detach()


def put(layer: nn.Linear, weight: Tensor) -> None:
    """Let a layer's weight, or this process's part of it, lie there."""
    if not hasattr(layer.weight, "to_local"):
        layer.weight.data = weight
        return
    from torch.distributed.tensor import DTensor

    whole = cast(DTensor, layer.weight)
    made = DTensor.from_local(weight, whole.device_mesh, whole.placements, run_check=False)
    layer.weight = nn.Parameter(made, requires_grad=layer.weight.requires_grad)


def is_cut_by_inputs(weight: Tensor) -> bool:
    """Whether processes have other inputs of this weight [O, I]."""
    return any(placement.is_shard(1) for placement in getattr(weight, "placements", ()))
