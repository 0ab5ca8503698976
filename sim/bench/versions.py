"""What made a row: the scoring code, the libraries under it, and the machine."""

import functools
import hashlib
import importlib.metadata
import platform
from pathlib import Path

SIM = Path(__file__).parents[1]
_LIBRARIES = ("pybullet", "numpy", "opencv-python-headless")
_ONLY_SHOW = (
    "report.py",
    "svg.py",
    "explain.py",
    "compare.py",
    "summary.py",
    "cheats.py",
    "ros_node.py",
    "scene_bag.py",
)
# a file larger than this is told by its size and its first bytes
_WHOLE_BYTES = 256 * 2**20
_HEAD_BYTES = 2**20


@functools.cache
def scorer_sha256() -> str:
    """Hash of the source files of sim/ that make scenes and judge them; those that only show are left out."""
    digest = hashlib.sha256()
    for path in sorted(SIM.rglob("*.py")):
        if path.name in _ONLY_SHOW:
            continue
        digest.update(path.relative_to(SIM).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """Hash of a checkpoint folder's files but its model card; of a huge one its size and first megabyte."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md"):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(size if size <= _WHOLE_BYTES else _HEAD_BYTES))
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What must be the same for two rows to be compared."""
    found = {name: _version(name) for name in _LIBRARIES}
    return {"scorer_sha256": scorer_sha256(), **found}


def machine() -> dict[str, str]:
    """What is worth knowing, and may differ."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "emu_planner": _version("emu_planner"),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
