"""Write the embodied suites in sim/suites, check them, and let the oracle solve them again.

    python tools/make_embodied_suite.py [SUITE] [--check | --solve]

embodied-331: every family has 14 scenes, the first nine of the registry 15; within a family the robots
that can do it take turns. embodied-40: of these, two a family and one of each family of the group
"sorting". embodied-generalisation: 20 scenes of each held-out family (sim/tasks/held_out.py).

Seeds are the benchmark's, in ranges of their own. A seed that the oracle does not solve is passed over
and counted. Difficulty is the number of the oracle's steps: short to 3, medium to 6, long from 7. The
manifest holds them and a digest of what each scene draws (floats to a micrometre), and one digest of
all. --check draws the scenes again, without physics, and compares; --solve has the oracle solve each
again, in as many steps.
"""

import argparse
import functools
import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sim.oracle_record import solve
from sim.scene import BENCHMARK_FIRST_SEED, Scene
from sim.tasks import FAMILIES, held_out, like, make_scene, robots_for, trained_robots
from sim.world import World

COUNT = 331
# the ranges of the suites' seeds, apart from those of other suites
FIRST_SEED = BENCHMARK_FIRST_SEED + 331_000
NEW_FIRST_SEED = BENCHMARK_FIRST_SEED + 700_000
FOLDER = Path(__file__).parents[1] / "sim" / "suites"
PATH = FOLDER / f"embodied-{COUNT}.json"
# of the short suite: families of this group have one scene, the others two
_SINGLE = "sorting"
_NEW_EACH = 20
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


Row = dict[str, Any]
# the robots of which one may have a seed's scene
Able = Callable[[int], tuple[str, ...]]


def make_whole() -> Row:
    """embodied-331: choose the scenes; the oracle tries each."""
    solved: list[Row] = []
    passed_over: Counter[str] = Counter()
    with World() as world:
        for family, count in shares().items():
            able = functools.partial(_able, family)
            solved += _solved(world, family, FIRST_SEED, count, able, passed_over)
    about = f"{COUNT} held-out scenes over all families and robots; seeds that training never draws"
    return _suite(PATH.stem, about, solved, passed_over)


def make_short() -> Row:
    """embodied-40: a part of embodied-331 in which robots take turns over the families."""
    suite = read(PATH.stem)
    turns = {able: itertools.cycle(able) for able in map(robots_for, FAMILIES)}
    chosen: list[Row] = []
    for family, known in FAMILIES.items():
        for _ in range(1 if known.group == _SINGLE else 2):
            robot = next(turns[robots_for(family)])
            left = (row for row in suite["scenes"] if (row["family"], row["robot"]) == (family, robot))
            row = next(row for row in left if row not in [_scene(c) for c in chosen])
            chosen.append({**row, **suite["manifest"][name_of(row)]})
    about = f"a part of {PATH.stem} for a first look: every family, every robot"
    return _suite(f"embodied-{len(chosen)}", about, chosen, Counter())


def make_new() -> Row:
    """embodied-generalisation: as many scenes of each held-out family, of robots that are trained for
    what each is like; of new_pairs the robot that is not.
    """
    solved: list[Row] = []
    passed_over: Counter[str] = Counter()
    with World() as world:
        for family in held_out.HELD_OUT:
            able = functools.partial(_able, family)
            solved += _solved(world, family, NEW_FIRST_SEED, _NEW_EACH, able, passed_over)
    for row in solved:
        row["like"] = like(row["family"], row["seed"])
    about = "held-out scenes of kinds that training never draws: see sim/tasks/held_out.py"
    return _suite("embodied-generalisation", about, solved, passed_over)


def _able(family: str, seed: int) -> tuple[str, ...]:
    if family in FAMILIES:
        return robots_for(family)
    if family == "new_pairs":
        return held_out.PAIRS[seed % len(held_out.PAIRS)][:1]
    return trained_robots(like(family, seed))


def _solved(
    world: World, family: str, first_seed: int, count: int, able: Able, passed_over: Counter[str]
) -> Iterator[Row]:
    """The first scenes of a family that the oracle solves, with what the manifest says of them.

    Of the robots that may, the one has a scene that had the fewest so far.
    """
    had: Counter[str] = Counter()
    for seed in itertools.count(first_seed):
        if had.total() == count:
            break
        run = solve(world, family, seed, min(able(seed), key=had.__getitem__))
        if not run.solved:
            passed_over[family] += 1
            continue
        had[run.robot] += 1
        scene = {"family": family, "seed": seed, "robot": run.robot}
        yield {**scene, **_told(run.skills), "digest": digest(world.scene)}
    sys.stdout.write(f"{family}: {count} scenes, {passed_over[family]} seeds passed over\n")
    sys.stdout.flush()


def _told(steps: int) -> Row:
    return {"difficulty": difficulty(steps), "steps": steps}


def _scene(row: Row) -> Row:
    return {key: row[key] for key in ("family", "seed", "robot")}


def name_of(row: Row) -> str:
    """A scene's name in the manifest."""
    return "/".join(str(value) for value in _scene(row).values())


def _suite(name: str, about: str, rows: list[Row], passed_over: Counter[str]) -> Row:
    return {
        "name": name,
        "version": 1,
        "about": about,
        "passed_over": dict(passed_over),
        "digest": whole([row["digest"] for row in rows]),
        "scenes": [_scene(row) for row in rows],
        "manifest": {name_of(row): {key: row[key] for key in row if key not in _scene(row)} for row in rows},
    }


MAKERS: dict[str, Callable[[], Row]] = {
    PATH.stem: make_whole,
    "embodied-40": make_short,
    "embodied-generalisation": make_new,
}


def read(name: str) -> Row:
    """A suite's file."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii")))


def check(name: str) -> list[str]:
    """Names of scenes that are no longer drawn as the manifest says."""
    suite = read(name)
    told = suite["manifest"]
    wrong = [
        name_of(row) for row in suite["scenes"] if digest(make_scene(**row)) != told[name_of(row)]["digest"]
    ]
    if suite["digest"] != whole([row["digest"] for row in told.values()]):
        wrong.append("the digest of all")
    return wrong


def solve_again(name: str) -> list[str]:
    """Scenes that the oracle does not solve, or not in as many steps as the manifest says."""
    suite = read(name)
    wrong = []
    with World() as world:
        for row in suite["scenes"]:
            run = solve(world, **row)
            if not run.solved:
                wrong.append(f"{name_of(row)}: {run.detail}")
            elif run.skills != suite["manifest"][name_of(row)]["steps"]:
                wrong.append(f"{name_of(row)}: {run.skills} steps")
    sys.stdout.write(f"{len(suite['scenes']) - len(wrong)} of {len(suite['scenes'])} as recorded\n")
    return wrong


def _text(suite: Row) -> str:
    """JSON with one scene a line."""
    head = {key: value for key, value in suite.items() if key not in ("scenes", "manifest")}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in suite["scenes"])
    told = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in suite["manifest"].items())
    lines += [f' "scenes": [\n{rows}\n ]', f' "manifest": {{\n{told}\n }}']
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(argv: list[str] | None = None) -> int:
    """Write suites, or check them; 1 when something has changed."""
    parser = argparse.ArgumentParser(description="Write the embodied suites in sim/suites.")
    parser.add_argument("suite", nargs="?", choices=MAKERS, help="which one (default: all, in turn)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="draw the scenes again and compare; write nothing")
    how.add_argument("--solve", action="store_true", help="let the oracle solve them again; write nothing")
    args = parser.parse_args(argv)
    wrong: list[str] = []
    for name in [args.suite] if args.suite else MAKERS:
        if args.check or args.solve:
            wrong += check(name) if args.check else solve_again(name)
        else:
            (FOLDER / f"{name}.json").write_text(_text(MAKERS[name]()), encoding="ascii")
    if args.check or args.solve:
        sys.stdout.write("".join(f"changed: {one}\n" for one in wrong) or "all scenes are as recorded\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
