"""`python -m emu_planner.cli.child PARENT MODULE ...`: run a module that ends when its parent dies.

However the parent died: see sim/lifeline.py.
"""

import runpy
import signal
import sys

from sim.lifeline import end_with


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's end, then become the module."""
    if not end_with(int(sys.argv[1]), signal.SIGTERM):
        sys.exit("the process that started this one is gone")
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
