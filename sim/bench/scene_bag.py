"""One scene of a run as a rosbag2 folder with MCAP inside: what was planned beside what happened.

    /task                            std_msgs/String   the instruction, at the start
    /row                             std_msgs/String   the scene's row of the results, as JSON, at the start
    /subgoal                         std_msgs/String   what begins there; empty at the end
    /<view>/image_raw/compressed     sensor_msgs/CompressedImage   what really was seen, PNG
    /<view>/predicted/compressed     the same type     the keyframe of the step that begins there
    /<view>/decoded/compressed       the same type     the state that the keyframe was read as, rendered

As in sim/export/bag.py a second is one step. The plan is carried out again, which gives the same bits.
"""

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sim.bench.explain import Shown, explain
from sim.bench.kept_plans import kept_plan
from sim.bench.suite import SceneName
from sim.bench.trail import Picture, Trail
from sim.camera import VIEWS
from sim.export.formats import load
from sim.shards import views_of
from sim.world import World

if TYPE_CHECKING:
    from sim.export.bag import Bag

_SEEN, _PREDICTED, _DECODED = "image_raw", "predicted", "decoded"


def write(out: Path, scene: str) -> Path:
    """The bag of one scene of a run's folder, in its folder mcap; an older one is replaced.

    Raises:
        ValueError: there is no run, it has no such scene or plan, or rosbags is not installed.
    """
    load("mcap")  # says what to install, where it is missing
    file = out / "results.json"
    if not file.is_file():
        raise ValueError(f"there is no {file}; run `emu-planner bench sim --out {out}` first")
    results = json.loads(file.read_text(encoding="utf-8"))
    rows = {row["scene"]: row for row in results["entrants"][results["planner"]["name"]]}
    if scene not in rows:
        raise ValueError(
            f"the run has no scene {scene!r}; it has {len(rows)}, the first is {next(iter(rows))}"
        )
    family, seed, robot = scene.split("/")
    name = SceneName(family, int(seed), robot)
    steps = kept_plan(out / "plans", name)
    if steps is None:
        raise ValueError(f"{out / 'plans'} has no plan of {scene}")
    with World() as world, contextlib.closing(Trail(world, name)) as trail:
        first, shown = trail.at(()).picture, list(explain(trail, steps))
    folder = out / "mcap" / scene.replace("/", "-")
    part = folder.with_name(f".{folder.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for left in (part, folder):
        shutil.rmtree(left, ignore_errors=True)
    _write(part / folder.name, rows[scene], first, shown)
    (part / folder.name).replace(folder)
    part.rmdir()
    return folder


def _write(folder: Path, row: dict, first: Picture, shown: list[Shown]) -> None:
    from sim.export.bag import FIRST_NS, IMAGE, STEP_NS, STRING, Bag

    topics = dict.fromkeys(("/task", "/row", "/subgoal"), STRING)
    kinds = (_SEEN, _PREDICTED, _DECODED)
    topics |= dict.fromkeys((_topic(view, kind) for kind in kinds for view in VIEWS), IMAGE)
    folder.parent.mkdir(parents=True)
    with Bag(folder, topics) as bag:
        stamp_ns = FIRST_NS
        bag.say("/task", stamp_ns, row["instruction"])
        bag.say("/row", stamp_ns, json.dumps(row))
        last = first
        for step in shown:
            _show(bag, _SEEN, stamp_ns, step.before)
            _show(bag, _PREDICTED, stamp_ns, step.predicted)
            _show(bag, _DECODED, stamp_ns, step.decoded)
            bag.say("/subgoal", stamp_ns, step.subgoal)
            last = step.before if step.executed is None else step.executed
            stamp_ns += STEP_NS
        _show(bag, _SEEN, stamp_ns, last)
        bag.say("/subgoal", stamp_ns, "")


def _topic(view: str, kind: str) -> str:
    return f"/{view}/{kind}/compressed"


def _show(bag: "Bag", kind: str, stamp_ns: int, picture: Picture | None) -> None:
    if picture is None:
        return
    for view, rgb in views_of(picture).items():
        bag.show(_topic(view, kind), stamp_ns, view, rgb)
