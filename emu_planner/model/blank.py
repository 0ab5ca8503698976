"""Modules without memory: shapes alone, to be given the tensors of a checkpoint.

torch's meta device does that, but runs the initialisation too, for which it imports its compiler and
sympy: 80 MB and a second or more at every start. Here nothing is initialised. Knows no model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialisation(TorchFunctionMode):
    """Leaves tensors as they are where torch.nn.init would fill them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def blank() -> Iterator[None]:
    """Within it, modules that are made have parameters on the meta device."""
    with torch.device("meta"), _NoInitialisation():
        yield
