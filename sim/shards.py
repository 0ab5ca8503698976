"""A folder of shards, read with suspicion: what is missing, cut or altered is named with its record.

A line is the JSON object of one episode as `sim.data` writes it. Fields that are not known here are
carried along, so a later simulator may add some. Knows no physics.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import digest
from sim.camera import VIEWS
from sim.shard_reader import decode_png

Line = dict[str, Any]
Picture = NDArray[np.uint8]

# The manifest that every export holds: a folder with one is no run
EXPORT_FILE = "export.json"
# What a line has: one of a plan, and one of a lesson (sim/lessons/data.py)
_KEYS = {"family", "seed", "robot", "instruction", "steps", "frames", "states", "detour", "success"}
_LESSON_KEYS = {"task", "seed", "robot", "instruction", "references", "parts", "frames", "truths", "asked"}


class DamageError(ValueError):
    """A file is not as it was written; the message names the file and the record."""


def is_lesson(line: Line) -> bool:
    """Whether a line is of a lesson; else of a plan."""
    return "task" in line


@dataclass(frozen=True)
class Shard:
    """Two files: pictures one after the other, and a line for each episode."""

    folder: Path
    index: int

    @property
    def name(self) -> str:
        """The files' name without its end."""
        return f"shard-{self.index:05d}"

    @property
    def lines_path(self) -> Path:
        """Where the lines are."""
        return self.folder / f"{self.name}.jsonl"

    @property
    def frames_path(self) -> Path:
        """Where the pictures are."""
        return self.folder / f"{self.name}.frames"

    def texts(self) -> list[str]:
        """The lines as text. DamageError: missing, cut, or no ASCII."""
        try:
            text = self.lines_path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise DamageError(f"{self.lines_path.name} cannot be read: {error}") from error
        if text and not text.endswith("\n"):
            raise DamageError(f"{self.lines_path.name} is cut: its last line has no end")
        return text.splitlines()

    def parse(self, number: int, text: str) -> Line:
        """Line `number` (from 1) as data. DamageError: not a record, or altered."""
        where = f"{self.lines_path.name} line {number}"
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise DamageError(f"{where} is no JSON: {error}") from error
        keys = _LESSON_KEYS if isinstance(line, dict) and is_lesson(line) else _KEYS
        if not isinstance(line, dict) or not line.keys() >= keys:
            raise DamageError(f"{where} is no record; expected an object with at least {sorted(keys)}")
        try:
            _check_form(line)
        except (TypeError, ValueError, LookupError) as error:
            raise DamageError(f"{where} ({self.title(line)}) is malformed: {error}") from error
        if "sha256" in line and digest.of_record(line) != line["sha256"]["record"]:
            raise DamageError(f"{where} ({self.title(line)}) is not as it was written (SHA-256)")
        return line

    def title(self, line: Line) -> str:
        """How a message names a record."""
        return f"{self.name}, record {line['task' if is_lesson(line) else 'family']}/{line['seed']}"

    def lines(self) -> Iterator[Line]:
        """All records in order. DamageError at the first that is damaged."""
        for number, text in enumerate(self.texts(), 1):
            yield self.parse(number, text)

    def pictures(self, line: Line) -> list[Picture]:
        """The pictures of a record, [H, W, 3] uint8 RGB each, checked by digest where it has some.

        Raises:
            DamageError: a picture is missing, cut, no picture, or another one.
        """
        found = []
        try:
            with self.frames_path.open("rb") as file:
                for offset, length in line["frames"]:
                    file.seek(offset)
                    found.append(file.read(length))
        except OSError as error:
            raise DamageError(
                f"{self.title(line)}: {self.frames_path.name} cannot be read: {error}"
            ) from error
        return [self._picture(line, index, content) for index, content in enumerate(found)]

    def _picture(self, line: Line, index: int, content: bytes) -> Picture:
        where = f"{self.title(line)}, picture {index}"
        if len(content) != line["frames"][index][1]:
            raise DamageError(f"{where}: {self.frames_path.name} is cut there")
        try:
            picture = decode_png(content)
        except ValueError as error:
            raise DamageError(f"{where}: {error}") from error
        if "sha256" in line and digest.of_picture(picture) != line["sha256"]["pictures"][index]:
            raise DamageError(f"{where}: the pixels are not those that were written (SHA-256)")
        return picture


def _check_form(line: Line) -> None:
    """Raise ValueError, TypeError or LookupError where the parts of a line do not fit together."""
    if is_lesson(line):
        count = line["references"] + sum(kind == "picture" for kind, _ in line["parts"])
        states = line["truths"]
    else:
        count, states = len(line["steps"]) + 1, line["states"]
    if {len(line["frames"]), len(states)} != {count}:
        raise ValueError(f"{count} pictures told of, {len(line['frames'])} there, {len(states)} states")
    for offset, length in line["frames"]:
        if offset < 0 or length <= 0:
            raise ValueError(f"a picture of {length} bytes at {offset}")
    if "sha256" in line and len(line["sha256"]["pictures"]) != count:
        raise ValueError(f"{len(line['sha256']['pictures'])} digests for {count} pictures")


@dataclass(frozen=True)
class Run:
    """A finished run of `data sim`."""

    folder: Path
    # what it was asked for, from run.json
    settings: dict[str, Any]
    # what came of it, from counts.json
    counts: dict[str, int]
    shards: tuple[Shard, ...]

    @property
    def holds_lessons(self) -> bool:
        """Whether it is of `data lessons`; else of `data sim`."""
        return "tasks" in self.settings

    def check_count(self) -> None:
        """Raise DamageError where a shard or a line is lost: there are fewer records than were written."""
        there = sum(len(shard.texts()) for shard in self.shards)
        if there != self.counts["written"]:
            raise DamageError(
                f"{there} records in {self.folder}, but counts.json says {self.counts['written']}"
            )

    def fingerprint(self) -> str:
        """Hex digest of the settings and of every line; two runs with the same records share it."""
        lines = [digest.of_json(shard.texts()) for shard in self.shards]
        return digest.of_json([self.settings, lines])


def views_of(picture: Picture) -> dict[str, Picture]:
    """The views of a picture [H, n * W, 3], which stand side by side. ValueError: no such picture."""
    if picture.shape[1] % len(VIEWS):
        raise ValueError(f"a picture of shape {picture.shape} is not {len(VIEWS)} views side by side")
    return dict(zip(VIEWS, np.split(picture, len(VIEWS), axis=1), strict=True))


def open_run(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
        ValueError: no such folder, no run, an export, or a run that is not finished.
        DamageError: run.json or counts.json is damaged, or a shard is missing.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"{path} is no folder; write episodes with: emu-planner data sim --out {path}")
    if (path / EXPORT_FILE).exists():
        made = _read_json(path / EXPORT_FILE).get("format")
        raise ValueError(f"{path} is an export ({made}), not a run; give the folder it was made from")
    if not (path / "run.json").exists():
        raise ValueError(f"{path} holds no run of `emu-planner data sim`: it has no run.json")
    settings = _read_json(path / "run.json", "episodes", "first_seed")
    command = f"emu-planner data {'lessons' if 'tasks' in settings else 'sim'}"
    if not (path / "counts.json").exists():
        raise ValueError(f"the run in {path} is not finished; the same `{command}` goes on with it")
    counts = _read_json(path / "counts.json", "seeds", "written", "dropped")
    shards = tuple(Shard(path, index) for index in range(len(list(path.glob("shard-*.jsonl")))))
    if lost := [shard.name for shard in shards if not shard.lines_path.exists()]:
        raise DamageError(f"{path} lacks {lost[0]}; the same `{command}` writes it again")
    return Run(path, settings, counts, shards)


def _read_json(path: Path, *numbers: str) -> dict[str, Any]:
    """An object in a file, in which these keys are whole numbers."""
    try:
        value = json.loads(path.read_text(encoding="ascii"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamageError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict) or any(type(value.get(name)) is not int for name in numbers):
        raise DamageError(f"{path} is damaged: expected an object with numbers {numbers}, got {value!r}")
    return value
