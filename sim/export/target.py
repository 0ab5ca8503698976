"""The folder of an export: whose it is, how far it is, and that one process writes at a time.

Whole shards appear by a rename, so a kill leaves whole shards and a folder of parts that the next
start removes. Knows no format.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.card import CARD
from sim.shards import EXPORT_FILE, Run

_LOCK = ".lock"
_PARTS = ".parts"
# of a file that is read to be hashed
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Target:
    """Where an export goes."""

    folder: Path
    # unfinished things; empty when a writer starts, on the same file system
    parts: Path

    def keep(self, part: Path, final: Path) -> None:
        """Move a finished file or folder to its place at once; what is left of an older one goes."""
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            shutil.rmtree(final)
        os.replace(part, final)

    def write_text(self, name: str, text: str) -> None:
        """Write a whole small file, or nothing."""
        part = self.parts / "text"
        part.write_text(text, encoding="utf-8")
        self.keep(part, self.folder / name)


@contextlib.contextmanager
def claim(folder: Path, format_name: str, run: Run) -> Iterator[Target]:
    """Hold a folder for one export of one run; when the block ends well, the export is complete.

    Raises:
        ValueError: the folder is no export, one of another run or format, damaged, or being written.
    """
    manifest = _manifest(format_name, run)
    # a folder of something else gets no lock file
    _insist_on_same(folder, manifest)
    folder.mkdir(parents=True, exist_ok=True)
    # the file stays: who opened it before it went would hold another one than who comes later
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is writing to {folder}; wait for it") from None
        # whoever held the folder until now may have changed it
        _insist_on_same(folder, manifest)
        # a damaged file must not be taken for a whole one, nor get a new hash
        if altered := [name for name in changed_files(folder) if (folder / name).exists()]:
            raise ValueError(
                f"{folder} holds files that are not as they were written: {altered}; remove them first"
            )
        known = read_manifest(folder)["files"] if (folder / EXPORT_FILE).exists() else {}
        target = Target(folder, folder / _PARTS)
        shutil.rmtree(target.parts, ignore_errors=True)
        target.parts.mkdir()
        _write_manifest(target, {**manifest, "complete": False, "files": known})
        yield target
        _write_manifest(target, {**manifest, "complete": True, "files": _file_hashes(folder)})
        shutil.rmtree(target.parts)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What export.json says. ValueError: the folder holds no export, or the file is damaged."""
    path = folder / EXPORT_FILE
    if not path.exists():
        raise ValueError(f"{folder} holds no export: it has no {EXPORT_FILE}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {key: manifest[key] for key in ("format", "source", "complete", "files")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); export again into a new folder") from error


def check_export(folder: Path, run: Run) -> str:
    """The format of a finished export of this run; its files are not looked at, see `changed_files`.

    Raises:
        ValueError: no export, one of another run, or an unfinished one.
    """
    there = read_manifest(folder)
    _insist_on_same(folder, _manifest(str(there["format"]), run))
    if not there["complete"]:
        raise ValueError(f"the export in {folder} is not finished; the same `data export` goes on with it")
    return str(there["format"])


def changed_files(folder: Path) -> list[str]:
    """The files of an export that are gone, or whose bytes are not those that were written.

    An export that was never finished names no files yet.
    """
    if not (folder / EXPORT_FILE).exists():
        return []
    now = _file_hashes(folder)
    return [name for name, sha256 in read_manifest(folder)["files"].items() if now.get(name) != sha256]


def _file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by its path; the manifest, hidden files and the card (one may edit it) apart."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not str(name).startswith(".") and str(name) not in (EXPORT_FILE, CARD):
            hashes[name.as_posix()] = _sha256(path)
    return hashes


def _sha256(path: Path) -> str:
    # hashlib.file_digest is not there before Python 3.11
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _manifest(format_name: str, run: Run) -> dict[str, Any]:
    source = {"run": run.settings, "shards": len(run.shards), "sha256": run.fingerprint()}
    return {"format": format_name, "source": source}


def _write_manifest(target: Target, manifest: dict[str, Any]) -> None:
    target.write_text(EXPORT_FILE, json.dumps(manifest, indent=1) + "\n")


def _insist_on_same(folder: Path, manifest: dict[str, Any]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder")
    if not (folder / EXPORT_FILE).exists():
        if any(path.name not in (_LOCK, _PARTS) for path in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no export; take a new folder")
        return
    there = read_manifest(folder)
    if there["format"] != manifest["format"]:
        raise ValueError(
            f"{folder} holds an export of the format {there['format']}, not {manifest['format']}; "
            f"take a new folder"
        )
    if there["source"] != manifest["source"]:
        raise ValueError(
            f"{folder} holds an export of another run ({there['source']}), not of {manifest['source']}; "
            f"take a new folder"
        )
