"""Say what the set-up lacks on this machine, with the Debian packages that bring it.

Run by `make setup` with the interpreter that the virtual environment will have, before anything
is installed; so only the standard library, and syntax that old interpreters can read.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig

OLDEST, NEWEST = (3, 11), (3, 12)  # what the ROS wheels and the pinned packages exist for


def main():
    # type: () -> None
    """Exit with a list of what to install, or silently."""
    version = "%d.%d" % sys.version_info[:2]
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            "This is Python %s (%s); Python 3.11 or 3.12 is needed. On Debian 12: apt-get install "
            "python3.11 python3.11-venv python3.11-dev; on Ubuntu 24.04 the same with 3.12. Or "
            "name another one: make setup PYTHON=/path/to/python3.12" % (version, sys.executable)
        )
    missing = []
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        missing.append("python%s-venv" % version)
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        missing.append("python%s-dev" % version)
    if shutil.which("cc") is None:
        missing.append("gcc")
    if shutil.which("c++") is None:
        missing.append("g++")
    if missing:
        sys.exit("Not on this machine; install it first: apt-get install " + " ".join(missing))


if __name__ == "__main__":
    main()
