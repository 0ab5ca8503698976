"""`python -m emu_planner.cli.child PARENT MODULE ...`: run a module that ends when its parent dies.

However the parent died: it may have been killed, and then could stop nobody. Linux only; elsewhere
the module simply runs.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's end, then become the module."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(sys.argv[1]):
            sys.exit("the process that started this one is gone")
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
