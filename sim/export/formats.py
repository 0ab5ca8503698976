"""Export a run into a format, go on with an export that was cut, and compare one with its run.

Knows of a format only what the protocol Export says.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from sim import card
from sim.export.target import Target, changed_files, check_export, claim
from sim.shards import DamageError, Line, Picture, Run, Shard

# A format: the module that knows it, its class, and the packages it needs besides the simulator's
FORMATS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "webp": ("sim.export.webp", "WebpExport", ()),
    "lerobot": ("sim.export.lerobot", "LeRobotExport", ("pyarrow",)),
    "mcap": ("sim.export.bag", "BagExport", ("rosbags",)),
}


class Export(Protocol):
    """One format of one run in one folder."""

    # what lies in the folder, in the words of the data card
    about: str
    # what stands before the data card, if anything
    card_head: str

    def has(self, shard: Shard) -> bool:
        """Whether a shard is there and whole."""

    def write(self, shard: Shard) -> None:
        """Write one shard, whole or not at all. DamageError: the source is damaged."""

    def finish(self) -> None:
        """Write what speaks of all shards."""

    def restore(self, shard: Shard) -> Iterator[tuple[Line, list[Picture]]]:
        """Read a shard back: lines as the source has them (`frames` apart) and their pictures."""


def load(name: str) -> Callable[[Run, Target], Export]:
    """The class of a format. ValueError: unknown format, or a package is not installed."""
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; expected one of {list(FORMATS)}")
    module, cls, packages = FORMATS[name]
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the format {name} needs the package {error.name}, which is not installed here; "
                f"run: pip install -r requirements/export.txt"
            ) from error
    made: Callable[[Run, Target], Export] = getattr(importlib.import_module(module), cls)
    return made


def export(run: Run, name: str, out: Path, log: Callable[[str], None] = lambda _: None) -> None:
    """Write the export, or what is missing of it.

    Raises:
        ValueError: see `load` and `target.claim`.
        DamageError: a record of the source is lost or damaged; the shards before it are written.
    """
    make = load(name)
    run.check_count()
    with claim(out, name, run) as target:
        form = make(run, target)
        for count, shard in enumerate(run.shards, 1):
            there = form.has(shard)
            if not there:
                form.write(shard)
            log(f"{shard.name}: {'was there' if there else 'written'}; {count} of {len(run.shards)}")
        form.finish()
        target.write_text(card.CARD, card.of_export(run, name, form.about, form.card_head))


def compare(run: Run, out: Path) -> Iterator[str]:
    """What differs between a finished export and its run; nothing when each record comes back.

    Raises:
        ValueError: the folder holds no finished export of this run, or a package is not installed.
    """
    name = check_export(out, run)
    form = load(name)(run, Target(out, out))
    yield from (f"{out / file} is not as it was written (SHA-256), or gone" for file in changed_files(out))
    for shard in run.shards:
        try:
            yield from _compare_shard(form, shard)
        except (DamageError, OSError) as error:
            yield f"{out}: {error}"


def _compare_shard(form: Export, shard: Shard) -> Iterator[str]:
    restored = form.restore(shard)
    for line in shard.lines():
        got = next(restored, None)
        if got is None:
            yield f"{shard.title(line)} is not in the export"
            return
        yield from (f"{shard.title(line)}: {what}" for what in _differences(shard, line, *got))
    if (more := next(restored, None)) is not None:
        yield f"{shard.title(more[0])} is in the export, but not in the run"


def _differences(shard: Shard, line: Line, restored: Line, pictures: list[Picture]) -> Iterator[str]:
    for key in sorted((line.keys() | restored.keys()) - {"frames"}):
        if line.get(key) != restored.get(key):
            yield f"{key} is {restored.get(key)!r} in the export, {line.get(key)!r} in the run"
    expected = shard.pictures(line)
    if len(pictures) != len(expected):
        yield f"{len(pictures)} pictures in the export, {len(expected)} in the run"
    for index, (ours, theirs) in enumerate(zip(expected, pictures, strict=False)):
        if ours.shape != theirs.shape or (ours != theirs).any():
            yield f"picture {index} differs"
