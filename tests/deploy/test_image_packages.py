"""What the image's command imports is in the image: its packages and no others, no simulator, no ROS."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# of the repository, and not copied into the image
LEFT_OUT = {"sim", "tests", "tools"}

PROGRAM = """
import sys
refused = set(sys.argv[1].split(","))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is not in the image")
sys.meta_path.insert(0, Refuse())
import importlib, pkgutil
import emu_planner.plan, emu_planner.wire, emu_planner.service
for room in (emu_planner.plan, emu_planner.wire, emu_planner.service):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
from emu_planner.cli.main import main
try:
    main(["serve", "--help"])
except SystemExit as end:
    sys.exit(end.code)
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_in_the_image() -> set[str]:
    """What the Dockerfile's requirements bring along, by name."""
    wanted = re.findall(r"-r requirements/(\w+)\.txt", (ROOT / "deploy" / "Dockerfile").read_text())
    assert wanted == ["base", "model"]
    todo = {"setuptools", "pip"}
    for name in wanted:
        lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
        todo |= {normal(line.partition("==")[0]) for line in lines if "==" in line}
    found: set[str] = set()
    while todo:
        found.add(name := todo.pop())
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        bare = (line for line in needed if "extra ==" not in line)
        todo |= {normal(re.match(r"[\w.-]+", line)[0]) for line in bare} - found
    return found


def refused() -> set[str]:
    """Modules of this environment that the image does not have."""
    there = installed_in_the_image()
    others = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not there & {normal(owner) for owner in owners}
    }
    return (others | LEFT_OUT) - {"emu_planner"}


def test_the_images_command_imports_only_what_the_image_has():
    missing = refused()
    # it can fail: these are here, and not there
    assert {"pytest", "pybullet", "sim"} <= missing
    assert not {"grpc", "cv2", "torch", "prometheus_client"} & missing
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(sorted(missing))],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "--metrics-port" in done.stdout
