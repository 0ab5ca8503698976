"""Work on a device that is recorded once and replayed (CUDA graphs); done as it is where there is no CUDA.

A recording runs over the same addresses each time, so work reads and writes tensors that stay. Knows
no model and no token.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# runs before a recording: libraries choose their algorithms and take their memory in them
_WARM_UPS = 3
# One recording at a time in a process: its beginning waits for the device, which no other may forbid.
_RECORDING = threading.Lock()


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """Where a device's work is recorded: one, because libraries keep memory for each stream they see."""
    return torch.cuda.Stream(device)


class Recordings:
    """Recordings on one device, for one thread at a time.

    Args:
        device: where the work is done.
        most: recordings that are kept, the most recently used ones; at least 1.
    """

    def __init__(self, device: torch.device, *, most: int) -> None:
        self._device, self._most = device, most
        self._known: OrderedDict[Hashable, torch.cuda.CUDAGraph] = OrderedDict()
        self._pool: Any = None  # of all of them: only one runs at a time

    @property
    def recorded(self) -> bool:
        """Whether work is recorded at all."""
        return self._device.type == "cuda"

    def here(self) -> AbstractContextManager[Any]:
        """A block whose streams, events and kernels are this device's, if it is one of several."""
        return torch.cuda.device(self._device) if self.recorded else nullcontext()

    def run(self, key: Hashable, work: Callable[[], None], state: Sequence[Tensor] = ()) -> None:
        """Do a piece of work.

        Args:
            key: another one for work that differs in anything but the values of its tensors.
            work: sends itself to the device and waits for nothing.
            state: what work reads and changes: a recording needs runs that must not count.
        """
        if not self.recorded:
            work()
            return
        with self.here():
            if key not in self._known:
                self._known[key] = self._record(work, state)
                # after the new one: a pool ends with its last recording
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            self._known[key].replay()

    def _record(self, work: Callable[[], None], state: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        """A recording; its state stays what it was."""
        before = [tensor.clone() for tensor in state]
        with _RECORDING:
            side = _side_stream(torch.cuda.current_device())
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    work()
                    for tensor, value in zip(state, before, strict=True):
                        tensor.copy_(value)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            # other threads may use CUDA meanwhile
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                work()
        return graph
