"""The file of rows: a header that says what made them, then one finished job a line. Only ever appended.

A row that was written stays through kill -9: it is flushed to the disk before the next job counts.
A lock keeps a second writer out; another suite, planner or scorer than the header's is refused.
"""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

FORMAT = 1


class LedgerError(ValueError):
    """The file cannot be gone on with; the message says what to do."""


class Ledger:
    """Open for appending, by one process at a time. Use it as a context manager.

    Args:
        path: a JSON-lines file; it is made when it is not there.
        identity: everything that rows of one file must share; compared with the file's header.
        about: what is worth knowing and may differ between two runs (machine, time).
    """

    def __init__(self, path: Path, identity: dict[str, Any], about: dict[str, Any] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a+b")
        try:
            self._lock()
            self.rows = self._recover(identity, about or {})
        except BaseException:
            self._file.close()
            raise
        self.done = {row["job"] for row in self.rows}

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, job: str, row: dict[str, Any]) -> None:
        """Keep a finished job. ValueError: it is there already."""
        if job in self.done:
            raise ValueError(f"job {job!r} is in {self.path} already")
        line = {"job": job, **row}
        self._write(line)
        self.rows.append(line)
        self.done.add(job)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerError(
                f"another run is writing {self.path}; wait for it, or choose another --out"
            ) from error

    def _recover(self, identity: dict[str, Any], about: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of an earlier run; cuts off a line that was not finished."""
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._file.truncate(whole)
            self._sync()
        wanted = {"format": FORMAT, **identity}
        if not whole:
            self._write({"header": wanted, "about": about})
            return []
        header, rows = read(self.path)
        if different := _differences(wanted, header["header"]):
            raise LedgerError(
                f"{self.path} holds rows of another run ({'; '.join(different)}); rows are never mixed: "
                "choose another --out, or remove that folder"
            )
        return rows

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header line and rows of a file; an unfinished last line is left out.

    Raises:
        LedgerError: no such file, or no header of this format.
    """
    if not path.is_file():
        raise LedgerError(f"there is no {path}")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        header, *rows = [json.loads(line) for line in lines]
        if header["header"]["format"] != FORMAT:
            raise LedgerError(f"{path} has format {header['header']['format']}, expected {FORMAT}")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, LedgerError):
            raise
        raise LedgerError(
            f"{path} does not begin with a header; remove it, or choose another --out"
        ) from error
    return header, rows


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    keys = sorted(set(wanted) | set(found))
    return [
        f"{key}: there {json.dumps(found.get(key))[:80]}, now {json.dumps(wanted.get(key))[:80]}"
        for key in keys
        if wanted.get(key) != found.get(key)
    ]
