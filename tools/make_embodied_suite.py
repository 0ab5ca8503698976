"""Write sim/suites/embodied-331.json: 331 held-out scenes, balanced over families and robots.

    python tools/make_embodied_suite.py [--check]

Every family has 14 scenes, the first nine of the registry 15; within a family the robots that can do it
take turns. Seeds are the benchmark's, in a range of their own. A seed that the oracle does not solve
is passed over and counted. Difficulty is the number of the oracle's steps: short to 3, medium to 6,
long from 7. The manifest holds a digest of what each scene draws (floats to a micrometre), and one
of all; --check draws the scenes again, without physics, and compares.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sim.oracle_record import solve
from sim.scene import BENCHMARK_FIRST_SEED, Scene
from sim.tasks import FAMILIES, make_scene, robots_for
from sim.world import World

COUNT = 331
# the range of the suite's seeds, apart from those of other suites
FIRST_SEED = BENCHMARK_FIRST_SEED + 331_000
PATH = Path(__file__).parents[1] / "sim" / "suites" / f"embodied-{COUNT}.json"
_SHORT, _MEDIUM = 3, 6  # most steps


def shares() -> dict[str, int]:
    """How many scenes each family has."""
    each, left = divmod(COUNT, len(FAMILIES))
    return {family: each + (index < left) for index, family in enumerate(FAMILIES)}


def difficulty(steps: int) -> str:
    """A word for how many steps the oracle needs."""
    return "short" if steps <= _SHORT else "medium" if steps <= _MEDIUM else "long"


def digest(scene: Scene) -> str:
    """What a scene draws and asks, whatever the last bits of its floats."""
    told = repr(
        (
            scene.family,
            scene.seed,
            scene.robot,
            [(i.name, i.kind, *_metres(i.size, i.x, i.y, i.z, i.yaw)) for i in scene.items],
            [(r.name, r.kind, r.slots, *_metres(r.x, r.y, r.yaw)) for r in scene.receptacles],
            [(b.name, *_metres(b.x, b.y, b.yaw)) for b in scene.buttons],
            [(v.name, *_metres(*v.eye, *v.target, v.fov_deg)) for v in scene.look.views],
            _metres(*scene.look.table_rgb, *scene.look.light_direction, *scene.look.light_rgb),
            scene.goal,
            scene.instruction,
        )
    )
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _metres(*values: float) -> list[str]:
    return [f"{value:.6f}" for value in values]


def whole(digests: list[str]) -> str:
    """One digest of all scenes, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def make() -> dict[str, Any]:
    """Choose the scenes; the oracle tries each."""
    scenes: list[dict[str, Any]] = []
    manifest: dict[str, dict[str, Any]] = {}
    passed_over: Counter[str] = Counter()
    with World() as world:
        for family, count in shares().items():
            seed, names = FIRST_SEED, robots_for(family)
            found = 0
            while found < count:
                robot = names[found % len(names)]
                run = solve(world, family, seed, robot)
                if run.solved:
                    name = f"{family}/{seed}/{robot}"
                    scenes.append({"family": family, "seed": seed, "robot": robot})
                    told = {"difficulty": difficulty(run.skills), "steps": run.skills}
                    manifest[name] = {**told, "digest": digest(world.scene)}
                    found += 1
                else:
                    passed_over[family] += 1
                seed += 1
            sys.stdout.write(f"{family}: {count} scenes, {passed_over[family]} seeds passed over\n")
            sys.stdout.flush()
    return {
        "name": PATH.stem,
        "version": 1,
        "about": f"{COUNT} held-out scenes over all families and robots; seeds that training never draws",
        "passed_over": dict(passed_over),
        "digest": whole([row["digest"] for row in manifest.values()]),
        "scenes": scenes,
        "manifest": manifest,
    }


def check() -> list[str]:
    """Names of scenes that are no longer drawn as the manifest says."""
    suite = json.loads(PATH.read_text(encoding="ascii"))
    wrong = []
    for row in suite["scenes"]:
        name = f"{row['family']}/{row['seed']}/{row['robot']}"
        if digest(make_scene(**row)) != suite["manifest"][name]["digest"]:
            wrong.append(name)
    if suite["digest"] != whole([row["digest"] for row in suite["manifest"].values()]):
        wrong.append("the digest of all")
    return wrong


def _text(suite: dict[str, Any]) -> str:
    """JSON with one scene a line."""
    head = {key: value for key, value in suite.items() if key not in ("scenes", "manifest")}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in suite["scenes"])
    told = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in suite["manifest"].items())
    lines += [f' "scenes": [\n{rows}\n ]', f' "manifest": {{\n{told}\n }}']
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(argv: list[str] | None = None) -> int:
    """Write the suite, or check it; 1 when a scene has changed."""
    parser = argparse.ArgumentParser(description="Write sim/suites/embodied-331.json.")
    parser.add_argument(
        "--check", action="store_true", help="draw the scenes again and compare; write nothing"
    )
    args = parser.parse_args(argv)
    if args.check:
        wrong = check()
        sys.stdout.write("".join(f"changed: {name}\n" for name in wrong) or "all scenes are as recorded\n")
        return 1 if wrong else 0
    PATH.write_text(_text(make()), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
