"""One transformer on several devices: which layer goes where, and how activations follow.

Layers stay in order and whole, so a pass goes from device to device once. Applied from outside to a
model whose mathematics knows one device. Knows no checkpoint.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from emu_planner.model.transformer import Cache, Transformer

# of a GPU's free memory that the model may take, if it is to have room for keys, values and pictures
GPU_SHARE = 0.8

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_MEMORY = Path("/proc/meminfo")  # of Linux
# the limit that a container or a service has, version 2 of Linux's control groups
# (kernel.org, admin-guide/cgroup-v2): memory.max, memory.current, memory.stat
_CGROUP = Path("/sys/fs/cgroup")
_EMBEDDING, _LAYERS = "model.embed_tokens.", "model.layers."


def places(
    nbytes: Mapping[str, int],
    devices: Sequence[torch.device],
    room: Sequence[float] | None = None,
) -> dict[str, torch.device]:
    """The device of every tensor.

    Blocks (embedding; each layer; final norm and output head) are given to the devices in order, so
    that the fullest device is as empty as can be. A device of infinite room (a CPU beside GPUs) takes
    only what those before it have no room for.

    Args:
        nbytes: size of each tensor of a Transformer, by name.
        devices: at least one.
        room: bytes that each device has for them; None: equal ones.
    """
    blocks: dict[int, int] = {}
    for name, size in nbytes.items():
        blocks[_block(name)] = blocks.get(_block(name), 0) + size
    order = sorted(blocks)
    sizes, rooms = [blocks[block] for block in order], list(room or [1.0] * len(devices))
    assigned = fill(sizes, rooms) if math.inf in rooms else split(sizes, rooms)
    device_of = {block: devices[index] for block, index in zip(order, assigned, strict=True)}
    return {name: device_of[_block(name)] for name in nbytes}


def fill(sizes: Sequence[int], room: Sequence[float]) -> list[int]:
    """Part of each size when parts are filled one after the other; the last takes what is left."""
    parts, part, used = [], 0, 0
    for size in sizes:
        while used + size > room[part] and part < len(room) - 1:
            part, used = part + 1, 0
        used += size
        parts.append(part)
    return parts


def split(sizes: Sequence[int], room: Sequence[float]) -> list[int]:
    """Part of each size when they are cut into consecutive parts with the least fullest part.

    Dynamic programming over cuts; a part may be empty.

    Args:
        sizes: at least one.
        room: of each part; how full it is, is its sum over its room.
    """
    sums = [0]
    for size in sizes:
        sums.append(sums[-1] + size)
    count = len(sizes)
    best = [0.0] + [math.inf] * count  # of the first i sizes, in the parts so far
    cuts: list[list[int]] = []
    for part in room:
        new, cut = [math.inf] * (count + 1), [0] * (count + 1)
        for end in range(count + 1):
            for start in range(end + 1):
                fullest = max(best[start], (sums[end] - sums[start]) / part)
                if fullest < new[end]:
                    new[end], cut[end] = fullest, start
        best = new
        cuts.append(cut)
    parts = [0] * count
    end = count
    for index in reversed(range(len(room))):
        start = cuts[index][end]
        parts[start:end] = [index] * (end - start)
        end = start
    return parts


def free_bytes(device: torch.device) -> float:
    """Bytes that a model could take there now; infinity where that cannot be told.

    On a CPU the least of what the machine has and what the process's container may still take.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min(_free_of_machine(), _free_of_container()) if device.type == "cpu" else math.inf


def _free_of_machine() -> float:
    if _MEMORY.is_file():
        fields = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        if "MemAvailable" in fields:
            return 1024.0 * int(fields["MemAvailable"].split()[0])
    return math.inf


def _free_of_container() -> float:
    """Limit less use; pages of files, which the kernel takes back, count as free, as in MemAvailable."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except OSError:
        return math.inf
    if limit == "max":
        return math.inf
    stat = _CGROUP / "memory.stat"
    fields = dict(line.split() for line in stat.read_text().splitlines()) if stat.is_file() else {}
    cached = sum(int(fields.get(name, 0)) for name in ("active_file", "inactive_file"))
    return float(max(0, int(limit) - max(0, used - cached)))


def layer_devices(model: Transformer) -> list[torch.device]:
    """The device of each layer: where its keys and values should be kept."""
    return [next(layer.parameters()).device for layer in model.model.layers]


def is_spread(model: Transformer) -> bool:
    """Whether the model lies on several devices, or is connected as one that does."""
    connected = bool(model.model.embed_tokens._forward_pre_hooks)
    return connected or len({parameter.device for parameter in model.parameters()}) > 1


def connect(model: Transformer) -> None:
    """Make every part of the model take what it is called with to its own device first.

    Keys and values come from the cache to the layer's device when they are not there: right anywhere,
    but only fast with a cache that keeps each layer's where `layer_devices` says.
    """
    carriers: dict[torch.device, _Carrier] = {}
    for part in (model.model.embed_tokens, *model.model.layers, model.model.norm):
        device = next(part.parameters()).device
        if device in carriers:
            part.register_forward_pre_hook(carriers[device].bring_more, with_kwargs=True)
        else:
            carriers[device] = _Carrier(device)
            part.register_forward_pre_hook(carriers[device].bring, with_kwargs=True)


class _Carrier:
    """Forward pre-hooks for the parts of a model on one device.

    The rotary tables and the mask of a pass are the same for all layers: they are brought once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # what the part before was called with, from elsewhere, and what became of it here
        self._brought: list[tuple[Any, Any]] = []

    def bring(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments:
        """Of the device's first part in a pass."""
        self._brought = []
        return self.bring_more(module, args, kwargs)

    def bring_more(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments:
        """Of the others."""
        before, self._brought = self._brought, []
        moved = tuple(self._move(value, before) for value in args)
        return moved, {name: self._move(value, before) for name, value in kwargs.items()}

    def _move(self, value: Any, before: list[tuple[Any, Any]]) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(self._move(item, before) for item in value)
        if isinstance(value, (Tensor, BlockMask)):
            known = [here for source, here in before if source is value]
            here = known[0] if known else value.to(self._device)
            if here is not value:
                self._brought.append((value, here))
            return here
        if hasattr(value, "update"):
            return _CarriedCache(value, self._device)
        return value


class _CarriedCache:
    """A cache whose keys and values are brought to one device."""

    def __init__(self, cache: Cache, device: torch.device) -> None:
        self._cache, self._device = cache, device

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """See Cache.update."""
        keys, values = self._cache.update(layer, k, v)
        return keys.to(self._device), values.to(self._device)


def _block(name: str) -> int:
    """Position of a tensor's block in a pass: embedding 0, layer i at i + 1, the rest after them."""
    if name.startswith(_EMBEDDING):
        return 0
    if name.startswith(_LAYERS):
        return 1 + int(name[len(_LAYERS) :].partition(".")[0])
    return 2**31
