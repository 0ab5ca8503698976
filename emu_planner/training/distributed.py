"""Several processes that learn one model: who they are, and what they tell each other.

torchrun starts them, on one machine or several. Each draws other samples, and counts as its tokens do,
so a step is that of one process with all rows. Two ways:

replicate: each process holds the whole model and makes the same update; any optimiser. Gradients are
    summed once the backward pass is over.
shard: FSDP2 (Zhao et al. 2023). Each process holds a part of every tensor and of the optimiser's state,
    and a layer is whole only while it computes: for models that no device holds. AdamW only. Its update
    goes number by number; Muon's orthogonalises whole matrices, which would have to be gathered.

What must not differ between processes (how far a run by the clock is, whether it is saved now) is told
by the first, from memory to memory, so that no device waits. Knows no sample, no loss and no file; a
process alone is a Team too.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from emu_planner.model.blank import blank
from emu_planner.model.transformer import Transformer

WAYS = ("replicate", "shard")
T = TypeVar("T")
# a loss and figures, as the model computes them from a batch
Losses = Callable[..., tuple[Tensor, Tensor, Tensor]]


class Team:
    """A process alone: nothing is told, nothing waits. What several do instead stands below."""

    # of this process, and how many there are; the first writes files and talks
    rank = 0
    size = 1
    optimisers: tuple[str, ...] = ("muon", "adamw")

    def place(self, model: Transformer, device: torch.device) -> Transformer:
        """The model where it learns, in place."""
        return model.to(device)

    def around(self, model: Transformer, losses: Losses) -> Losses:  # noqa: ARG002
        """`losses`, which calls the model, with what must happen before and after."""
        return losses

    def backward(self, loss: Tensor, weight: float) -> None:  # noqa: ARG002
        """The gradient of the mean loss of all processes; `weight`: of the tokens behind this one's loss."""
        loss.backward()

    def clip(self, model: Transformer, most: float) -> Tensor:
        """Scale the gradient to a norm of at most `most`; the norm before."""
        return nn.utils.clip_grad_norm_(model.parameters(), most)

    def agree(self, value: float) -> float:
        """What the first process says."""
        return value

    def give(self, value: T) -> T:
        """What the first process has: anything that pickle takes."""
        return value

    def total(self, value: float) -> float:
        """The sum over all processes."""
        return value

    def means(self, values: Tensor, counts: Tensor) -> list[float]:  # noqa: ARG002
        """Means [N] over all processes of values that are means over counts, both [N]."""
        return values.tolist()

    def wait(self) -> None:
        """Until all are here."""

    def state(self, model: Transformer, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
        """What a run goes on from, whole, in the first process; the same however many there are."""
        return {
            "model": model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        }

    def load(
        self, model: Transformer, optimisers: Sequence[torch.optim.Optimizer], state: Mapping[str, Any]
    ) -> None:
        """Take that up."""
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def whole(self, model: Transformer, state: Mapping[str, Any]) -> Transformer:  # noqa: ARG002
        """The model as one process has it, from its state(); in the first process."""
        return model


class _Several(Team):
    """What both ways have in common."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def agree(self, value: float) -> float:
        told = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(told, 0)
        return float(told)

    def give(self, value: T) -> T:
        held = [value]
        dist.broadcast_object_list(held, 0, device=torch.device("cpu"))
        return held[0]

    def total(self, value: float) -> float:
        summed = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(summed)
        return float(summed)

    def means(self, values: Tensor, counts: Tensor) -> list[float]:
        summed = torch.stack((values * counts, counts)).double().cpu()
        dist.all_reduce(summed)
        return (summed[0] / summed[1].clamp_min(1e-12)).tolist()

    def wait(self) -> None:
        dist.all_reduce(torch.zeros(()))


class _Replicas(_Several):
    """The whole model in each process."""

    def place(self, model: Transformer, device: torch.device) -> Transformer:
        self._parameters = list(model.parameters())
        return super().place(model, device)

    def backward(self, loss: Tensor, weight: float) -> None:
        (loss * (weight / self.total(weight))).backward()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


class _Shards(_Several):
    """A part of the model in each process: FSDP2."""

    optimisers = ("adamw",)

    def place(self, model: Transformer, device: torch.device) -> Transformer:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._mesh = init_device_mesh(device.type, (self.size,))
        # layer by layer, so that no device ever holds the whole model
        for layer in model.model.layers:
            fully_shard(layer, mesh=self._mesh)
        return model

    def around(self, model: Transformer, losses: Losses) -> Losses:
        from torch.distributed.fsdp import fully_shard

        whole = _Whole(model, losses)
        fully_shard(whole, mesh=self._mesh)
        return whole

    def backward(self, loss: Tensor, weight: float) -> None:
        # FSDP2 takes the mean over processes, not the sum
        (loss * (self.size * weight / self.total(weight))).backward()

    def clip(self, model: Transformer, most: float) -> Tensor:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = _full(nn.utils.get_total_norm(gradients))
        nn.utils.clip_grads_with_norm_(model.parameters(), most, norm)
        return norm

    def state(self, model: Transformer, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
        gathered = self._gathered(super().state(model, optimisers))
        assert isinstance(gathered, dict)
        return gathered

    def load(
        self, model: Transformer, optimisers: Sequence[torch.optim.Optimizer], state: Mapping[str, Any]
    ) -> None:
        own = model.state_dict()
        model.load_state_dict({name: _part(value, own[name]) for name, value in state["model"].items()})
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            parts = {
                index: {name: _part(value, parameters[index]) for name, value in kept.items()}
                for index, kept in saved["state"].items()
            }
            optimiser.load_state_dict({**saved, "state": parts})

    def whole(self, model: Transformer, state: Mapping[str, Any]) -> Transformer:
        with blank():
            copy = Transformer(model.config)
        copy.load_state_dict(state["model"], assign=True)
        return copy

    def _gathered(self, held: Any) -> Any:
        """The same with whole tensors in the first process's memory; all take part, tensor by tensor."""
        if isinstance(held, dict):
            return {name: self._gathered(value) for name, value in held.items()}
        if isinstance(held, list):
            return [self._gathered(value) for value in held]
        if not isinstance(held, DTensor):
            return held
        full = _full(held.detach())
        return full.cpu() if self.rank == 0 else None


class _Whole(nn.Module):
    """The model and what is computed with it as one module: what FSDP2 gathers the outer tensors for."""

    def __init__(self, model: Transformer, losses: Losses) -> None:
        super().__init__()
        self.inner = model
        self.losses = losses

    def forward(self, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        return self.losses(*given)


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _part(value: Any, like: Tensor) -> Any:
    """This process's part of a whole tensor, as `like` is parted; whatever is no such tensor stays."""
    if not (isinstance(value, Tensor) and isinstance(like, DTensor) and value.shape == like.shape):
        return value
    there = value.to(like.device_mesh.device_type)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def launched() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def team(way: str, device: torch.device) -> Iterator[Team]:
    """The processes that torchrun has started, or this one alone; each has a device of its own.

    Raises:
        ValueError: no such way, a device that names one GPU for all, or fewer GPUs than processes.
    """
    if way not in WAYS:
        raise ValueError(f"way is {way!r}; expected {' or '.join(WAYS)}")
    if launched() == 1:
        yield Team()
        return
    if device.type == "cuda":
        if device.index is not None:
            raise ValueError(
                f"--device {device} is one GPU for {launched()} processes; take --device cuda, and choose "
                "GPUs with CUDA_VISIBLE_DEVICES"
            )
        own, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= there:
            raise ValueError(f"process {own} of this machine has no GPU of its own: there are {there}")
        torch.cuda.set_device(own)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield _Replicas() if way == "replicate" else _Shards()
    finally:
        dist.destroy_process_group()
