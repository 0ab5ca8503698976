"""Write a folder of shards: seeds in order, processes, whole files only, and on where it was cut.

    shard-XXXXX.frames   pictures as PNG, one after the other
    shard-XXXXX.jsonl    a record a line, with where its pictures lie; appears last and whole
    run.json             what was asked for; another run in the same folder is refused
    counts.json          what came of it; written last

Shard k holds the seeds first + k * SHARD_SEEDS onwards. Knows no record: a function makes them.
"""

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.scene import training_seed
from sim.shard_reader import COUNTS, encode_png

SHARD_SEEDS = 50

# where pictures will lie to a line of the .jsonl
Places = list[tuple[int, int]]


@dataclass(frozen=True)
class Entry:
    """A record to be written: its pictures, and its line once it is known where they lie."""

    pictures: tuple[NDArray[np.uint8], ...]
    line: Callable[[Places], dict[str, Any]]


# Makes the records of seeds; a seed that gives none is dropped. A module's function: processes call it.
MakeEntries = Callable[[Any, range], Iterable[Entry]]


@dataclass(frozen=True)
class _Job:
    folder: Path
    index: int
    seeds: range
    make: MakeEntries
    wanted: Any


def write_run(
    folder: Path,
    run: dict[str, int | str],
    make: MakeEntries,
    wanted: Any,
    *,
    defaults: Mapping[str, int | str] | None = None,
    workers: int = 1,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Write the shards that are not there yet.

    Args:
        run: settings, for run.json; "episodes" and "first_seed" say which seeds.
        make: entries of `wanted` and a shard's seeds.
        wanted: handed to `make`, in another process perhaps.
        defaults: settings of runs that do not name them.

    Returns:
        Counts: seeds, written and dropped, over all shards.

    Raises:
        ValueError: a seed belongs to the benchmark, or the folder holds another run.
    """
    first, episodes = int(run["first_seed"]), int(run["episodes"])
    training_seed(first)
    training_seed(first + episodes - 1)
    folder.mkdir(parents=True, exist_ok=True)
    _insist_on_same_run(folder, run, defaults or {})
    jobs = [
        _Job(folder, index, range(start, min(start + SHARD_SEEDS, first + episodes)), make, wanted)
        for index, start in enumerate(range(first, first + episodes, SHARD_SEEDS))
    ]
    began, counts = time.monotonic(), {"seeds": 0, "written": 0, "dropped": 0}
    with contextlib.ExitStack() as stack:
        results: Iterator[tuple[str, int, int]] = map(_write_shard, jobs)
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            results = pool.imap_unordered(_write_shard, jobs)
        for name, seeds, written in results:
            counts["seeds"] += seeds
            counts["written"] += written
            counts["dropped"] += seeds - written
            rate = counts["seeds"] / (time.monotonic() - began)
            log(f"{name}: {written} of {seeds}; {counts['seeds']}/{episodes} seeds, {rate:.1f} a second")
    (folder / COUNTS).write_text(json.dumps(counts) + "\n", encoding="ascii")
    return counts


def _insist_on_same_run(folder: Path, run: dict[str, int | str], defaults: Mapping[str, int | str]) -> None:
    path = folder / "run.json"
    there = {**defaults, **json.loads(path.read_text(encoding="ascii"))} if path.exists() else run
    if there != run:
        raise ValueError(f"{folder} holds the run {there}, not {run}; go on with that, or take a new folder")
    path.write_text(json.dumps(run) + "\n", encoding="ascii")


def _write_shard(job: _Job) -> tuple[str, int, int]:
    """Write one shard, unless it is there; returns its name, its seeds and how many were good."""
    name = f"shard-{job.index:05d}"
    lines_path, frames_path = job.folder / f"{name}.jsonl", job.folder / f"{name}.frames"
    if lines_path.exists():
        with lines_path.open(encoding="ascii") as lines:
            return name, len(job.seeds), sum(1 for _ in lines)
    written, temporary = 0, f".{os.getpid()}.tmp"
    lines_part, frames_part = Path(f"{lines_path}{temporary}"), Path(f"{frames_path}{temporary}")
    with lines_part.open("w", encoding="ascii") as lines, frames_part.open("wb") as frames:
        for entry in job.make(job.wanted, job.seeds):
            places: Places = []
            for picture in entry.pictures:
                data = encode_png(picture)
                places.append((frames.tell(), len(data)))
                frames.write(data)
            lines.write(json.dumps(entry.line(places)) + "\n")
            written += 1
    os.replace(frames_part, frames_path)
    os.replace(lines_part, lines_path)
    return name, len(job.seeds), written
