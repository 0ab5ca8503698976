"""What the simulator makes of a few fixed scenes, as a record to compare with: symbols and digests.

    python -m sim.fingerprint --robot panda --out tests/data/panda_scenes.json

Symbols (instruction, skills, states) must be equal on every machine. Digests cover every bit of
drawing, physics and pictures; they are equal on machines whose numpy and Bullet round alike, which
`machine` tells apart.
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sim import robots
from sim.episode import record
from sim.reading import library
from sim.scene import BENCHMARK_FIRST_SEED, Scene
from sim.state import SymbolicState
from sim.world import World

# those that were there when the record was made
FAMILIES = ("stack", "container", "sort", "zone")
# some of these episodes begin after a detour
SEEDS = (0, 1, 12, BENCHMARK_FIRST_SEED)


def machine() -> dict[str, str]:
    """What bits depend on besides this code."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    known = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    named = [known[key] for key in ("model name", "cpu family", "model", "stepping") if key in known]
    return {
        "processor": " ".join([platform.machine(), *named]),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pybullet": version("pybullet"),
    }


def fingerprint(world: World, family: str, seed: int, robot: str = robots.DEFAULT) -> dict[str, Any]:
    """One scene: the oracle's episode in symbols, and digests of all that is numbers or pixels."""
    scene = world.reset(family, seed, robot)
    drawn = _digest([_drawn(scene)])
    settled = _digest(repr(world.pose(item.name)) for item in scene.items)
    # states that can be posed; pictures that are pasted together came later
    posed = [candidate for candidate in library(world) if " twice after " not in candidate.name]
    imagined = _digest(candidate.picture.tobytes() for candidate in posed)
    episode = record(world, family, seed, robot)
    return {
        "family": family,
        "seed": seed,
        "instruction": scene.instruction,
        "detour": [str(skill) for skill in episode.detour],
        "steps": [[taken.subgoal, str(taken.skill)] for taken in episode.steps],
        "states": [_symbols(state) for state in episode.states],
        "digests": {
            "drawn": drawn,
            "settled": settled,
            "imagined": imagined,
            "pictures": _digest(picture.tobytes() for picture in episode.pictures),
            "end": _digest([repr(world.steps), *(repr(world.pose(item.name)) for item in scene.items)]),
        },
    }


def _drawn(scene: Scene) -> str:
    items = [(i.name, i.kind, i.colour, i.size, i.x, i.y, i.z, i.yaw) for i in scene.items]
    places = [(r.name, r.kind, r.colour, r.slots, r.x, r.y, r.yaw) for r in scene.receptacles]
    facts = [(f.object, f.relation, f.target) for f in scene.goal.facts]
    look = scene.look
    views = [(v.name, v.eye, v.target, v.fov_deg) for v in look.views]
    light = (look.table_rgb, look.light_direction, look.light_rgb, look.ambient, look.diffuse)
    return repr((items, places, facts, scene.goal.exclusive, views, light))


def _symbols(state: SymbolicState) -> str:
    where = [f"{f.object} {f.relation} {f.target}".strip() for f in state.where]
    return "; ".join([*where, *(f"{name} full" for name in state.full)])


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:32]


def main(argv: list[str] | None = None) -> int:
    """Write the record."""
    parser = argparse.ArgumentParser(prog="sim.fingerprint", description=__doc__.partition("\n")[0])
    parser.add_argument("--robot", default=robots.DEFAULT, help=", ".join(robots.ROBOTS))
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args(argv)
    with World() as world:
        scenes = [fingerprint(world, family, seed, args.robot) for family in FAMILIES for seed in SEEDS]
    args.out.write_text(
        json.dumps({"machine": machine(), "scenes": scenes}, indent=1) + "\n", encoding="ascii"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
