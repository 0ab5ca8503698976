"""Sessions on disk: a folder for each plan, one JSON line for each thing that was shown.

    20261125-101500-3f2a91c4/
        session.jsonl          {"format": 1, ...}, then {"t": s since 1970, "snapshot": ..., "frames": ...};
                               without "snapshot" where only the cameras' pictures changed
        pictures/<key>.jpg     each picture once, named by the hash of its bytes

A line is appended by one write, after the pictures that it names have been put in place by a
rename. So whatever kills the process leaves a session that can be read up to the last whole line.
Knows no page.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from emu_planner.console.hub import Look
from emu_planner.console.robot import (
    JPEG,
    PNG,
    Ending,
    Note,
    Phase,
    Picture,
    Snapshot,
    StepState,
    StepView,
    Views,
)

FILE = "session.jsonl"
_FORMAT = 1
_SUFFIXES = {JPEG: ".jpg", PNG: ".png"}
# a plan that has ended: its camera pictures are kept this much longer, s
_AFTERWARDS_S = 3.0


class RecordingError(ValueError):
    """A file is no recorded session; the message says why."""


class SessionRecorder:
    """Keeps what was shown, from the first plan on; a new plan begins a new folder.

    Args:
        root: folder of all sessions; made when it is missing.
        now_s: seconds since 1970.
    """

    def __init__(self, root: Path, now_s: Callable[[], float] = time.time) -> None:
        self.root, self._now_s = root, now_s
        self._folder: Path | None = None
        self._file: int | None = None
        self._plan_id = ""
        self._written: set[str] = set()
        self._ended_s: float | None = None
        self._last: Snapshot | None = None

    def keep(self, look: Look) -> None:
        """See hub.Recorder."""
        snapshot, now_s = look.snapshot, self._now_s()
        if not snapshot.plan_id:
            return
        if snapshot.plan_id != self._plan_id:
            self._begin(snapshot, now_s)
        only_frames = snapshot is self._last
        self._last = snapshot
        if snapshot.ending is None:
            self._ended_s = None
        elif self._ended_s is None:
            self._ended_s = now_s
        if only_frames and self._ended_s is not None and now_s > self._ended_s + _AFTERWARDS_S:
            return
        line: dict[str, Any] = {"t": round(now_s, 3), "frames": self._stored(look.frames)}
        if not only_frames:
            line["snapshot"] = self._described(snapshot)
        self._append(line)
        if not only_frames and self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        """See hub.Recorder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self, snapshot: Snapshot, now_s: float) -> None:
        self.close()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_s))
        folder = self.root / f"{stamp}-{snapshot.plan_id[:8]}"
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(folder / FILE, flags, 0o644)
        self._folder, self._plan_id, self._written = folder, snapshot.plan_id, set()
        self._ended_s = self._last = None
        self._append({"format": _FORMAT, "plan_id": snapshot.plan_id, "begun_s": round(now_s, 3)})

    def _append(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes were written; is the disk full?")

    def _described(self, snapshot: Snapshot) -> dict[str, Any]:
        plain = asdict(snapshot, dict_factory=_plain)
        for step, shown in zip(plain["steps"], snapshot.steps, strict=True):
            step["before"], step["keyframe"] = self._stored(shown.before), self._stored(shown.keyframe)
        return plain

    def _stored(self, views: Views) -> list[list[str]]:
        return [[name, self._store(picture)] for name, picture in views]

    def _store(self, picture: Picture) -> str:
        assert self._folder is not None
        name = picture.key + _SUFFIXES[picture.media_type]
        if name not in self._written:
            path = self._folder / "pictures" / name
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(picture.data)
            unfinished.replace(path)
            self._written.add(name)
        return name


@dataclass(frozen=True)
class Moment:
    """What was shown, and when: t_s in seconds since 1970."""

    t_s: float
    look: Look


@dataclass(frozen=True)
class Summary:
    """One session of the history."""

    folder: Path
    begun_s: float
    seconds: float
    task: str
    robot: str
    steps: int
    # None: it was cut off before the plan ended
    ending: Ending | None


def read_session(path: Path) -> list[Moment]:
    """All that was shown in a session; `path` is its folder or its file.

    A torn last line, which a kill may leave, is left out.

    Raises:
        RecordingError: it is no session, or damaged elsewhere.
    """
    file = path / FILE if path.is_dir() else path
    pictures: dict[str, Picture] = {}
    moments: list[Moment] = []
    snapshot: Snapshot | None = None
    for number, line in _lines(file):
        try:
            if snapshot is None or "snapshot" in line:
                snapshot = _snapshot(line["snapshot"], file.parent, pictures)
            frames = _views(line["frames"], file.parent, pictures)
            moments.append(Moment(float(line["t"]), Look(snapshot, frames, len(moments))))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise RecordingError(f"{file} line {number} cannot be shown: {error!r}") from error
    if not moments:
        raise RecordingError(f"{file} holds nothing that was shown")
    return moments


def list_sessions(root: Path) -> list[Summary]:
    """The sessions of a folder, newest first; those that cannot be read are left out."""
    found = []
    for folder in sorted(root.glob(f"*/{FILE}"), reverse=True):
        try:
            first, last, shown = _ends(folder)
        except (RecordingError, OSError, ValueError, KeyError):
            continue
        ending = Ending(shown["ending"]) if shown["ending"] else None
        begun_s = float(first["begun_s"])
        found.append(
            Summary(
                folder.parent,
                begun_s,
                float(last["t"]) - begun_s,
                shown["task"],
                shown["robot"],
                len(shown["steps"]),
                ending,
            )
        )
    return found


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines after the first, which is checked; the last one may be torn."""
    try:
        raw = file.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror}") from error
    whole = raw[:-1]  # what follows the last end of line is a torn line, or nothing
    for number, data in enumerate(whole, start=1):
        try:
            line = json.loads(data)
        except ValueError as error:
            raise RecordingError(f"{file} line {number} is no JSON: {error}") from error
        if number == 1:
            if not isinstance(line, dict) or line.get("format") != _FORMAT:
                raise RecordingError(f"{file} is no session of format {_FORMAT}")
            continue
        yield number, line
    if not whole:
        raise RecordingError(f"{file} holds no whole line")


def _ends(file: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """First and last whole line, and the last snapshot, without reading all that is between."""
    with file.open("rb") as stream:
        first = json.loads(stream.readline())
        size, reach = file.stat().st_size, 1 << 16
        while True:
            stream.seek(max(0, size - reach))
            lines = stream.read().split(b"\n")[:-1]
            # the first of them may be cut, unless everything was read
            whole = lines if reach >= size else lines[1:]
            told = next((line for line in reversed(whole) if b'"snapshot":' in line), None)
            if told is not None or reach >= size:
                break
            reach *= 4
    if first.get("format") != _FORMAT or told is None:
        raise RecordingError(f"{file} is no session of format {_FORMAT}")
    return first, json.loads(whole[-1]), json.loads(told)["snapshot"]


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For asdict: enums by value; pictures are put in their place afterwards."""
    return {
        name: getattr(value, "value", value) for name, value in pairs if name not in ("before", "keyframe")
    }


def _snapshot(plain: dict[str, Any], folder: Path, pictures: dict[str, Picture]) -> Snapshot:
    known = {f.name for f in fields(Snapshot)}
    values = {name: value for name, value in plain.items() if name in known}
    values["phase"] = Phase(values["phase"]) if values["phase"] else None
    values["ending"] = Ending(values["ending"]) if values["ending"] else None
    values["journal"] = tuple(Note(**note) for note in values["journal"])
    values["steps"] = tuple(_step(step, folder, pictures) for step in values["steps"])
    return Snapshot(**values)


def _step(plain: dict[str, Any], folder: Path, pictures: dict[str, Picture]) -> StepView:
    known = {f.name for f in fields(StepView)}
    values = {name: value for name, value in plain.items() if name in known}
    values["state"] = StepState(values["state"])
    for name in ("before", "keyframe"):
        values[name] = _views(values[name], folder, pictures)
    return StepView(**values)


def _views(plain: list[list[str]], folder: Path, pictures: dict[str, Picture]) -> Views:
    return tuple((name, _picture(file, folder, pictures)) for name, file in plain)


def _picture(name: str, folder: Path, pictures: dict[str, Picture]) -> Picture:
    if name not in pictures:
        types = {suffix: media_type for media_type, suffix in _SUFFIXES.items()}
        path = Path(name)
        if path.name != name or path.suffix not in types:
            raise ValueError(f"{name!r} is no picture's name")
        pictures[name] = Picture((folder / "pictures" / name).read_bytes(), types[path.suffix])
    return pictures[name]
