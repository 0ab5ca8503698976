"""Check a run: are its files whole, and does the simulator make each record again from its seed.

Reads everything; makes again all records or a sample. A difference is reported in words with the
shard and the record, and the check goes on.
"""

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sim import data
from sim.episode import STEPS, Episode, ImperfectError, record
from sim.lessons import data as lessons
from sim.lessons import make
from sim.lessons.lesson import Lesson
from sim.scene import training_seed
from sim.shards import DamageError, Line, Run, Shard, is_lesson
from sim.world import World

# Records that a process takes at a time
_BATCH = 20


@dataclass(frozen=True)
class Check:
    """What was checked, and what was wrong."""

    records: int
    again: int
    problems: tuple[str, ...]


def verify(
    run: Run,
    *,
    sample: int | None = None,
    workers: int = 1,
    log: Callable[[str], None] = lambda _: None,
) -> Check:
    """Check every file and digest, and make records again from their seeds.

    Args:
        sample: how many records to make again (drawn without chance between calls); None: all.
        workers: processes.

    Raises:
        ValueError: sample or workers below what makes sense.
    """
    if workers < 1 or (sample is not None and sample < 0):
        raise ValueError(f"sample {sample} and workers {workers}; expected 0 or more, and 1 or more")
    whole: list[tuple[Shard, int]] = []
    problems: list[str] = []
    seeds: list[tuple[str, int]] = []
    total = bare = 0
    for shard in run.shards:
        found = _check_shard(shard)
        whole += [(shard, number) for number in found.good]
        problems += found.problems
        seeds += found.seeds
        total, bare = total + found.lines, bare + found.bare
        log(f"{shard.name}: {len(found.good)} of {found.lines} records whole")
    if 0 < bare < total:
        problems.append(f"{bare} of {total} records lack their SHA-256; expected all or none")
    problems += _seed_problems(run, seeds)
    if total != run.counts["written"]:
        problems.append(f"{total} records in {run.folder}, but counts.json says {run.counts['written']}")
    chosen = whole if sample is None else _draw(whole, sample)
    count = 0
    for done, wrong in _make_again(chosen, workers, run.settings.get("steps", STEPS[0])):
        count += done
        problems += wrong
        log(f"{count} of {len(chosen)} records made again")
    return Check(total, count, tuple(problems))


@dataclass
class _Found:
    """Of one shard."""

    # numbers of the whole records
    good: list[int] = field(default_factory=list)
    # and their seeds, each with the record's name
    seeds: list[tuple[str, int]] = field(default_factory=list)
    # how many lines there are, and how many have no digests
    lines: int = 0
    bare: int = 0
    problems: list[str] = field(default_factory=list)


def _check_shard(shard: Shard) -> _Found:
    found, expected_end = _Found(), 0
    try:
        texts = shard.texts()
    except DamageError as error:
        found.problems.append(str(error))
        return found
    found.lines = len(texts)
    for number, text in enumerate(texts, 1):
        try:
            line = shard.parse(number, text)
            shard.pictures(line)
        except DamageError as error:
            found.problems.append(str(error))
            continue
        found.good.append(number)
        found.bare += "sha256" not in line
        found.seeds.append((shard.title(line), line["seed"]))
        expected_end = max(expected_end, *(offset + length for offset, length in line["frames"]))
    there = shard.frames_path.stat().st_size if shard.frames_path.exists() else 0
    if len(found.good) == len(texts) and there != expected_end:
        found.problems.append(f"{shard.frames_path.name} has {there} bytes, the lines {expected_end}")
    return found


def _seed_problems(run: Run, seeds: list[tuple[str, int]]) -> Iterator[str]:
    """Seeds rise through the run and stay inside it."""
    first, last = run.settings["first_seed"], run.settings["first_seed"] + run.settings["episodes"] - 1
    before = first - 1
    for title, seed in seeds:
        if not before < seed <= last:
            yield f"{title}: the seed is out of order, twice, or not one of {first} to {last}"
        before = seed


def _draw(records: list[tuple[Shard, int]], count: int) -> list[tuple[Shard, int]]:
    chosen = np.random.default_rng(0).permutation(len(records))[:count]
    return [records[index] for index in sorted(chosen)]


_Batch = list[tuple[Shard, int]]


def _make_again(chosen: _Batch, workers: int, steps: str) -> Iterator[tuple[int, list[str]]]:
    do_batch = functools.partial(_do_batch, steps)
    batches = [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]
    with contextlib.ExitStack() as stack:
        results: Iterator[tuple[int, list[str]]] = map(do_batch, batches)
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            results = pool.imap(do_batch, batches)
        yield from results


def _do_batch(steps: str, batch: _Batch) -> tuple[int, list[str]]:
    problems: list[str] = []
    with World() as world:
        for shard, number in batch:
            line = shard.parse(number, shard.texts()[number - 1])
            problems += [f"{shard.title(line)}: {what}" for what in _differences(world, shard, line, steps)]
    return len(batch), problems


def _differences(world: World, shard: Shard, line: Line, steps: str) -> Iterator[str]:
    """What the simulator makes of the record's seed now, where it is not what is on disk."""
    if is_lesson(line):
        yield from _lesson_differences(world, shard, line)
        return
    try:
        episode = record(world, line["family"], training_seed(line["seed"]), line["robot"], steps=steps)
    except ImperfectError as error:
        yield f"made again, the episode goes wrong: {error}"
        return
    except ValueError as error:
        yield f"it cannot be made again: {error}"
        return
    yield from _line_differences(line, data.to_line(episode, line["frames"]))
    yield from _picture_differences(episode, shard, line)


def _lesson_differences(world: World, shard: Shard, line: Line) -> Iterator[str]:
    """The same for a lesson."""
    try:
        lesson = make(world, line["task"], training_seed(line["seed"]))
    except ValueError as error:
        yield f"it cannot be made again: {error}"
        return
    yield from _line_differences(line, lessons.to_line(lesson, line["frames"]))
    yield from _picture_differences(lesson, shard, line)


def _line_differences(line: Line, fresh: Line) -> Iterator[str]:
    for key in sorted(line.keys() & fresh.keys() - {"frames", "sha256"}):
        if line[key] != _plain(fresh[key]):
            yield f"{key} made again is {_plain(fresh[key])!r}, on disk {line[key]!r}"


def _picture_differences(episode: Episode | Lesson, shard: Shard, line: Line) -> Iterator[str]:
    pictures = shard.pictures(line)
    if len(pictures) != len(episode.pictures):
        yield f"made again it has {len(episode.pictures)} pictures, on disk {len(pictures)}"
        return
    for index, (there, again) in enumerate(zip(pictures, episode.pictures, strict=True)):
        if there.shape != again.shape:
            yield f"picture {index} made again has the shape {again.shape}, on disk {there.shape}"
        elif (difference := np.abs(there.astype(np.int16) - again)).any():
            changed = int(difference.any(axis=2).sum())
            most = int(difference.max())
            yield f"picture {index} made again differs in {changed} pixels, by at most {most} grey levels"


def _plain(value: object) -> object:
    """As JSON would give it back: tuples as lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
