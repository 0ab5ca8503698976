"""A process that ends with the one that started it, however that ended. Knows nothing else."""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int, number: int) -> bool:
    """Ask the kernel for a signal to this process when its parent has died.

    A parent that was killed can stop nobody, so the kernel does. Linux only: elsewhere nothing
    happens. The kernel means the thread that started this process, not its whole process.

    Args:
        parent: process id of whoever started this process, as it says itself.
        number: the signal, such as signal.SIGTERM.

    Returns:
        False: the parent is gone already, and no signal will come; end now.
    """
    if sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    # who died before the call above left this process to another parent
    return os.getppid() == parent
