"""CUDA graphs without CUDA: operations of a piece of work are noted once, and done again on the same tensors.

As there, what the host decided while the work was noted is decided for good, and only values of tensors
change. What is computed is filled with NaN after noting: a replay must write it before it reads it.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from emu_planner.engine.recordings import Recordings


class _Noting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        self.done.append((operation, args, kwargs or {}, made))
        return made


class Replay:
    """A piece of work, noted."""

    def __init__(self, work: Callable[[], None], state: Sequence[Tensor]) -> None:
        before = [tensor.clone() for tensor in state]
        with torch.inference_mode(), _Noting() as noting:
            work()
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        self._done = noting.done
        with torch.inference_mode():
            for _, args, kwargs, made in self._done:
                for tensor in _new(made, args, kwargs):
                    if tensor.is_floating_point():
                        tensor.fill_(torch.nan)

    @torch.inference_mode()
    def replay(self) -> None:
        """The same operations once more, on the same tensors."""
        for operation, args, kwargs, made in self._done:
            if operation._schema.is_mutable:
                operation(*args, **kwargs)
            elif new := _new(made, args, kwargs):
                for tensor, value in zip(new, _tensors(operation(*args, **kwargs)), strict=True):
                    tensor.copy_(value)


class ReplayRecordings(Recordings):
    """Recordings that are replayed on any device."""

    def run(self, key: Hashable, work: Callable[[], None], state: Sequence[Tensor] = ()) -> None:
        if key not in self._known:
            self._known[key] = Replay(work, state)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        self._known[key].replay()


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _new(made: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Results in memory of their own: no views, nothing changed in place."""
    given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
    return [tensor for tensor in _tensors(made) if tensor.untyped_storage().data_ptr() not in given]
