"""Lessons on disk: the same shards as those of plans, a line of JSON a lesson.

A seed always gives the same lesson; tasks take turns by seed. Writing goes on where it was cut, and
`emu-planner data verify` makes lessons again from their seeds.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sim import digest
from sim.camera import View
from sim.data import EpisodeReader, read_state, state_json
from sim.lessons import chosen, make, task_of
from sim.lessons.lesson import Lesson, Part, Thing, Truth
from sim.scene import training_seed
from sim.shard_reader import ShardReader
from sim.shard_writer import Entry, Places, write_run
from sim.world import World

COMMAND = "emu-planner data lessons"


@dataclass(frozen=True)
class LessonRecord:
    """One lesson on disk; see Lesson."""

    shard: str
    task: str
    seed: int
    robot: str
    instruction: str
    references: int
    parts: tuple[Part, ...]
    # (offset, length) in the shard's .frames file; references first
    frames: tuple[tuple[int, int], ...]
    # of each picture
    truths: tuple[Truth, ...]
    asked: dict[str, Any]


class LessonReader(ShardReader[LessonRecord]):
    """Reads the lessons of a folder."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, _from_json, COMMAND)


def open_reader(folder: str | Path) -> ShardReader[Any]:
    """The reader of a folder, be it of plans or of lessons. ValueError: no folder."""
    run = Path(folder) / "run.json"
    if run.exists() and "tasks" in json.loads(run.read_text(encoding="ascii")):
        return LessonReader(folder)
    return EpisodeReader(folder)


def write(
    out: str | Path,
    *,
    episodes: int,
    tasks: str = "all",
    first_seed: int = 0,
    workers: int = 1,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Write the lessons of `episodes` seeds, skipping shards that are there already.

    Args:
        tasks: names with commas, or "all": they take turns by seed.

    Returns:
        Counts: seeds, written and dropped (always 0: what cannot be is drawn again), over all shards.

    Raises:
        ValueError: a seed belongs to the benchmark, no such task, or the folder holds another run.
    """
    names = chosen(tasks)
    run: dict[str, int | str] = {
        "episodes": episodes,
        "first_seed": first_seed,
        "tasks": ",".join(names),
    }
    return write_run(Path(out), run, _entries, names, workers=workers, log=log)


def _entries(tasks: tuple[str, ...], seeds: range) -> Iterator[Entry]:
    with World() as world:
        for seed in seeds:
            lesson = make(world, task_of(seed, tasks), training_seed(seed))
            yield Entry(lesson.pictures, partial(to_line, lesson))


def to_line(lesson: Lesson, frames: Places) -> dict[str, Any]:
    """What a line of the .jsonl says of a lesson whose pictures lie at (offset, length) in .frames."""
    line = {
        "task": lesson.task,
        "seed": lesson.seed,
        "robot": lesson.robot,
        "instruction": lesson.instruction,
        "references": lesson.references,
        "parts": [[part.kind, part.text] for part in lesson.parts],
        "frames": frames,
        "truths": [_truth_json(truth) for truth in lesson.truths],
        "asked": dict(lesson.asked),
    }
    pictures = [digest.of_picture(picture) for picture in lesson.pictures]
    return {**line, "sha256": {"record": digest.of_record(line), "pictures": pictures}}


def _truth_json(truth: Truth) -> dict[str, Any]:
    return {
        "state": state_json(truth.state),
        "things": [asdict(thing) for thing in truth.things],
        "views": [asdict(view) for view in truth.views],
    }


def _read_truth(line: dict[str, Any]) -> Truth:
    things = (Thing(**{**thing, "position": tuple(thing["position"])}) for thing in line["things"])
    views = (View(v["name"], tuple(v["eye"]), tuple(v["target"]), v["fov_deg"]) for v in line["views"])
    return Truth(read_state(line["state"]), tuple(things), tuple(views))


def _from_json(shard: str, line: dict[str, Any]) -> LessonRecord:
    return LessonRecord(
        shard,
        line["task"],
        line["seed"],
        line["robot"],
        line["instruction"],
        line["references"],
        tuple(Part(kind, text) for kind, text in line["parts"]),
        tuple((offset, length) for offset, length in line["frames"]),
        tuple(_read_truth(truth) for truth in line["truths"]),
        line["asked"],
    )
