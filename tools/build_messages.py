"""Build emu_planner_msgs with colcon into the virtual environment that runs this script.

Afterwards plain `python -c "import rclpy; from emu_planner_msgs.action import PlanTask"` works in
that environment, with no variable set by hand and whether or not another ROS is sourced. Needs
requirements/ros.txt installed, a C++ compiler, and nothing else of ROS. Does nothing when the
messages are there already and unchanged. Knows no node and no launch file.

Usage: .venv/bin/python tools/build_messages.py [--force]
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parent.parent
PREFIX = Path(sys.prefix)
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
PACKAGE = "emu_planner_msgs"
STAMP = PREFIX / "share" / PACKAGE / "built_from.txt"

# The ROS wheels restart Python once with LD_LIBRARY_PATH set, unless a variable says that it was
# done. That variable is inherited: a process of another environment would never find its own
# libraries. This file is read before theirs ("e" < "r") and takes the variable back in that case.
# It also names this prefix to the ament index, in front of those of a ROS that is sourced.
PTH_NAME = "emu_planner_ros.pth"
PTH = (
    "import os, sys; "
    "os.path.join(sys.prefix, 'lib') in os.environ.get('LD_LIBRARY_PATH', '').split(os.pathsep)"
    " or os.environ.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None); "
    "_p = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]; "
    "sys.prefix in _p or os.environ.update(AMENT_PREFIX_PATH=os.pathsep.join([sys.prefix, *_p]))\n"
)


def main() -> None:
    """Build if the messages changed since the last time, or always with --force."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    args = parser.parse_args()
    require_environment()
    fingerprint = describe_sources()
    if not args.force and STAMP.is_file() and STAMP.read_text() == fingerprint:
        print(f"{PACKAGE}: up to date")
        return
    (SITE_PACKAGES / PTH_NAME).write_text(PTH)
    correct_include_paths()
    remove_old_build()
    build()
    check_import()
    STAMP.write_text(fingerprint)
    print(f"{PACKAGE}: built into {PREFIX}")


def require_environment() -> None:
    """Stop with a remedy when something that the build needs is missing."""
    if sys.prefix == sys.base_prefix:
        sys.exit("build_messages: run me with a virtual environment's Python, e.g. .venv/bin/python")
    if not (PREFIX / "share" / "rosidl_default_generators").is_dir():
        sys.exit(f"build_messages: no ROS in {PREFIX}; run: {PREFIX}/bin/pip install -r requirements/ros.txt")
    if shutil.which("c++") is None:
        sys.exit("build_messages: no C++ compiler; run: apt-get install g++")
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not headers.is_file():
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"build_messages: {headers} is missing; run: apt-get install {version}-dev")


def describe_sources() -> str:
    """What the build depends on: one line a file with its hash, and the Python version."""
    files = sorted(path for path in (ROOT / "msgs").rglob("*") if path.is_file())
    files += [ROOT / "requirements" / "ros.txt", Path(__file__)]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(ROOT)}" for path in files]
    return "\n".join([sys.version.split()[0], *lines, ""])


def correct_include_paths() -> None:
    """Point the wheels' CMake exports at this machine's Python and numpy headers.

    They name the machine that built them: /opt/python/cp311-cp311/include/python3.11 and so on.
    """
    numpy_headers = re.compile(r"/opt/python/cp[^;\"]*/numpy/_core/include")
    python_headers = re.compile(r"/opt/python/cp[^;\"/]*/include/python[0-9.]+")
    for path in (PREFIX / "share").rglob("*.cmake"):
        old = path.read_text(encoding="utf-8", errors="surrogateescape")
        new = numpy_headers.sub(numpy.get_include(), old)
        new = python_headers.sub(sysconfig.get_path("include"), new)
        if new != old:
            path.write_text(new, encoding="utf-8", errors="surrogateescape")


def remove_old_build() -> None:
    """Forget a former build, so that a message that was removed is gone."""
    for path in (
        PREFIX / "colcon",
        PREFIX / "share" / PACKAGE,
        PREFIX / "include" / PACKAGE,
        SITE_PACKAGES / PACKAGE,
    ):
        shutil.rmtree(path, ignore_errors=True)
    for path in (PREFIX / "lib").glob(f"lib{PACKAGE}__*"):
        path.unlink()


def colcon_environment() -> dict[str, str]:
    """Variables in which this prefix is the only ROS."""
    foreign = ("AMENT_", "CMAKE_", "COLCON_", "ROS_", "PYTHONPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return env | {
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
        "PATH": os.pathsep.join([str(PREFIX / "bin"), env.get("PATH", os.defpath)]),
    }


def build() -> None:
    """Run colcon in ros2_ws."""
    command = [sys.executable, "-m", "colcon", "--log-base", str(PREFIX / "colcon" / "log"), "build"]
    command += ["--base-paths", str(ROOT / "msgs"), "--packages-select", PACKAGE]
    command += ["--build-base", str(PREFIX / "colcon" / "build")]
    command += ["--merge-install", "--install-base", str(PREFIX)]
    command += ["--event-handlers", "parallel_status-"]
    command += ["--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF"]
    command += [f"-DPython3_EXECUTABLE={sys.executable}"]
    result = subprocess.run(
        command,
        cwd=ROOT / "ros2_ws",
        env=colcon_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode:
        sys.stdout.write(result.stdout.decode(errors="replace")[-8000:])
        sys.exit(f"build_messages: colcon failed; its log is in {PREFIX / 'colcon' / 'log'}")
    shutil.rmtree(PREFIX / "colcon")


def check_import() -> None:
    """Import the result as a program would: in a new process with none of ROS's variables."""
    foreign = ("AMENT_", "LD_LIBRARY_PATH", "_ROS_WHEELS", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    code = f"import rclpy; from {PACKAGE}.action import PlanTask as t; type(t.Goal).__import_type_support__()"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


if __name__ == "__main__":
    main()
