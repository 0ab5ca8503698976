"""Build and test both ROS packages with colcon, as a user's workspace would, warnings as errors.

Everything goes into a temporary folder: nothing that is installed changes. A warning is one of the C and
C++ compilers, or whatever CMake and Python write to stderr. Colcon calls a run without any test a
success; here it is a failure. Needs what build_messages.py needs. Knows no node.

Usage: .venv/bin/python -m tools.check_colcon [what pytest is to run]
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tools.build_messages import ROOT, colcon_environment, correct_include_paths, require_environment

_STRICT = "-Wall -Wextra -Werror"
# what is quick; everything is `make test`
_QUICK = ("tests/launch", "tests/ros/test_convert.py", "tests/ros/test_params.py")


def main() -> None:
    """Check; exit status 1 says that something is to be mended."""
    require_environment()
    correct_include_paths()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        places = ["--build-base", str(base / "build"), "--install-base", str(base / "install")]
        flags = ["-G", "Ninja", f"-DPython3_EXECUTABLE={sys.executable}"]
        flags += [f"-DCMAKE_C_FLAGS={_STRICT}", f"-DCMAKE_CXX_FLAGS={_STRICT}"]
        colcon(base, "build", *places, "--cmake-args", *flags)
        refuse_warnings(base)
        tests = sys.argv[1:] or list(_QUICK)
        colcon(base, "test", *places, "--return-code-on-test-failure", "--pytest-args", *tests)
        print(f"colcon: both packages build without a warning; {count_tests(base)} tests pass")


def colcon(base: Path, verb: str, *arguments: str) -> None:
    """One verb in ros2_ws, whose defaults name both packages."""
    command = [sys.executable, "-m", "colcon", "--log-base", str(base / "log"), verb]
    command += ["--event-handlers", "parallel_status-", "console_cohesion+"]
    # byte code is written whatever the caller's environment says: compiling is what finds warnings
    env = colcon_environment() | {"PYTHONWARNINGS": "error::SyntaxWarning", "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT / "ros2_ws",
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.stdout.write(done.stdout.decode(errors="replace")[-8000:])
        sys.exit(f"check_colcon: `colcon {verb}` failed, see above")


def refuse_warnings(base: Path) -> None:
    """What a package's build wrote to stderr."""
    told = [path for path in (base / "log" / "latest_build").glob("*/stderr.log") if path.stat().st_size]
    for path in told:
        sys.stdout.write(f"{path.parent.name}:{os.linesep}{path.read_text(errors='replace')[-4000:]}")
    if told:
        sys.exit("check_colcon: the build warns, see above")


def count_tests(base: Path) -> int:
    """How many tests of emu_planner ran; emu_planner_msgs has none of its own."""
    results = ET.parse(base / "build" / "emu_planner" / "pytest.xml").getroot()
    count = sum(int(suite.get("tests", 0)) for suite in results.iter("testsuite"))
    if not count:
        sys.exit("check_colcon: colcon ran no test")
    return count


if __name__ == "__main__":
    main()
