"""The processes that torchrun has started: which one this is, its device, and how they reach each other.

    torchrun --nproc-per-node 2 -m emu_planner.cli.main serve --checkpoint FOLDER

Tensors go by NCCL between GPUs and by gloo between CPUs; what hosts agree on always by gloo, where a
process may wait as long as it must. Knows no model.
"""

import os
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

# how long a process may wait for what the first one wants next
_FOREVER = timedelta(days=3650)
# what torchrun tells each process
_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """One of some processes that compute together."""

    # 0 is the one that is asked
    rank: int
    size: int
    device: torch.device
    # all of them, one dimension
    mesh: DeviceMesh
    # for what hosts agree on
    control: Any
    # set in a process that left the others amid a pass: nothing can be agreed on any more
    lost: threading.Event = field(default_factory=threading.Event)

    @property
    def leads(self) -> bool:
        """Whether this is the process that is asked, and answers."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait for the others."""
        dist.barrier(group=self.control)

    def leave(self) -> None:
        """End what join began; between GPUs the process's end does: recordings may still hold NCCL's part."""
        if self.device.type == "cpu":
            dist.destroy_process_group()


def are_launched() -> bool:
    """Whether torchrun has started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device_type: str | None = None) -> Ranks:
    """Meet the processes that torchrun has started; each takes the GPU of its number on its machine.

    Args:
        device_type: cuda or cpu; None: cuda where torch finds it.

    Raises:
        ValueError: there are fewer GPUs than processes here, or it was not torchrun.
    """
    if absent := [name for name in _VARIABLES if name not in os.environ]:
        raise ValueError(
            f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, but {', '.join(absent)} not set; start several "
            "processes with torchrun, or one with WORLD_SIZE unset"
        )
    kind = device_type or ("cuda" if torch.cuda.is_available() else "cpu")
    place = int(os.environ["LOCAL_RANK"])
    device = torch.device(kind, place) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        if place >= torch.cuda.device_count():
            raise ValueError(
                f"process {place} of this machine has no GPU: torch finds {torch.cuda.device_count()}; "
                "give torchrun that number as --nproc-per-node"
            )
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    size = dist.get_world_size()
    control = dist.new_group(backend="gloo", timeout=_FOREVER)
    return Ranks(dist.get_rank(), size, device, init_device_mesh(kind, (size,)), control)
