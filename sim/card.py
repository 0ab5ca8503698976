"""The data card: what a run holds, counted from its own lines, and how to make it again.

Written as README.md beside the data. Knows no format beyond its name.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sim.shards import Line, Run

CARD = "README.md"
_PACKAGES = ("emu_planner", "numpy", "pybullet", "opencv-python-headless")


@dataclass(frozen=True)
class Summary:
    """What a run's lines say, counted."""

    episodes: int
    pictures: int
    families: Mapping[str, int]
    robots: Mapping[str, int]
    # how many episodes have how many steps
    lengths: Mapping[int, int]
    # the verbs of the skills
    verbs: Mapping[str, int]
    detours: int
    tasks: int
    # first and last; None: no episode
    seeds: tuple[int, int] | None
    # records that hold digests
    digests: int


def summarise(lines: Iterable[Line]) -> Summary:
    """Count what the records hold."""
    families, robots, verbs = Counter[str](), Counter[str](), Counter[str]()
    lengths = Counter[int]()
    tasks, seeds, detours, digests = set(), [], 0, 0
    for line in lines:
        families[line["family"]] += 1
        robots[line["robot"]] += 1
        lengths[len(line["steps"])] += 1
        verbs.update(step["skill"][0] for step in line["steps"])
        tasks.add(line["instruction"])
        seeds.append(line["seed"])
        detours += bool(line["detour"])
        digests += "sha256" in line
    return Summary(
        len(seeds),
        sum((steps + 1) * count for steps, count in lengths.items()),
        _sorted(families),
        _sorted(robots),
        dict(sorted(lengths.items())),
        _sorted(verbs),
        detours,
        len(tasks),
        (min(seeds), max(seeds)) if seeds else None,
        digests,
    )


def of_run(run: Run) -> str:
    """The card of a run, as Markdown."""
    about = (
        "`shard-XXXXX.frames` holds the pictures, PNG one after the other (front view left, side view\n"
        "right); `shard-XXXXX.jsonl` holds a record a line, its `frames` being (offset, length) in that\n"
        "file. `sim.data.EpisodeReader` reads the folder."
    )
    return _card(
        "Simulated episodes of emu_planner", run, about, _make_command(run, "FOLDER"), "--data FOLDER"
    )


def of_export(run: Run, name: str, about: str, head: str = "") -> str:
    """The card of an export: `about` says what lies in the folder, `head` stands before everything."""
    make = f"{_make_command(run, 'RUN')}\n    emu-planner data export --data RUN --format {name} --out FOLDER"
    title = f"Simulated episodes of emu_planner, format {name}"
    return head + _card(title, run, about, make, "--data RUN --export FOLDER")


def write(run: Run) -> Path:
    """Write the card beside a run's data; returns its path."""
    path = run.folder / CARD
    part = path.with_suffix(".md.tmp")
    part.write_text(of_run(run), encoding="utf-8")
    part.replace(path)
    return path


def _card(title: str, run: Run, about: str, make: str, verify: str) -> str:
    summary = summarise(line for shard in run.shards for line in shard.lines())
    seeds = "none" if summary.seeds is None else f"{summary.seeds[0]} to {summary.seeds[1]}"
    dropped = run.counts["dropped"]
    rows = {
        "episodes": f"{summary.episodes} of {run.settings['episodes']} seeds ({dropped} went wrong)",
        "pictures": str(summary.pictures),
        "seeds": f"{seeds}; the benchmark's begin at 1000000000",
        "different instructions": str(summary.tasks),
        "families": _counts(summary.families),
        "robots": _counts(summary.robots),
        "steps an episode": _counts(summary.lengths),
        "skills": _counts(summary.verbs),
        "begin after a random detour": str(summary.detours),
        "records with SHA-256": f"{summary.digests} of {summary.episodes}",
        "this card was written with": _versions(),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# {title}

Each episode: one sentence, then for each step a picture, a subgoal in words and the skill it calls, and a
last picture. The simulator's oracle chose the steps; the symbolic state at each picture is read from the
simulator, not from the picture. A simulated robot at a table, flat light; nothing here was seen by a camera.

| what | |
| --- | --- |
{table}

## Files

{about}

## Make it again

    {make}

Everything follows from family and seed. Check every digest, and make each record again:

    emu-planner data verify {verify}

Between machines the pixels may differ by a grey level where the processor rounds otherwise; `verify` says
by how much.
"""


def _make_command(run: Run, folder: str) -> str:
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in run.settings.items())
    return f"emu-planner data sim --out {folder} {options}"


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _counts(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"


def _versions() -> str:
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in _PACKAGES)]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
