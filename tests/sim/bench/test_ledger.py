"""Rows stay: through a cut, a kill and a second writer; rows of another run are never mixed in."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sim.bench.ledger import Ledger, LedgerError, read

ROOT = Path(__file__).parents[3]
IDENTITY = {"suite": "a", "versions": {"scorer": "1"}}


def test_rows_are_there_after_a_cut_and_half_a_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    with Ledger(path, IDENTITY) as ledger:
        ledger.append("a 1", {"value": 1.5})
        ledger.append("a 2", {"value": None})
    with path.open("ab") as file:
        file.write(b'{"job": "a 3", "val')
    with Ledger(path, IDENTITY) as ledger:
        assert ledger.done == {"a 1", "a 2"}
        ledger.append("a 3", {"value": 2})
        with pytest.raises(ValueError, match="already"):
            ledger.append("a 1", {})
    header, rows = read(path)
    assert header["header"] == {"format": 1, **IDENTITY}
    assert rows == [{"job": "a 1", "value": 1.5}, {"job": "a 2", "value": None}, {"job": "a 3", "value": 2}]


def test_another_suite_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Ledger(path, IDENTITY) as ledger:
        ledger.append("a 1", {})
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="versions: there .*1.*, now .*2"):
        Ledger(path, {**IDENTITY, "versions": {"scorer": "2"}})
    with pytest.raises(LedgerError, match="suite"):
        Ledger(path, {**IDENTITY, "suite": "b"})
    assert path.read_bytes() == before
    # what may differ does not matter
    with Ledger(path, IDENTITY, {"machine": "another"}) as ledger:
        assert ledger.done == {"a 1"}


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Ledger(path, IDENTITY), pytest.raises(LedgerError, match="another run"):
        Ledger(path, IDENTITY)
    with Ledger(path, IDENTITY):
        pass


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"job": "old"}\n')
    with pytest.raises(LedgerError, match="header"):
        Ledger(path, IDENTITY)
    path.write_text(json.dumps({"header": {"format": 99}}) + "\n")
    with pytest.raises(LedgerError, match="format 99"):
        read(path)
    with pytest.raises(LedgerError, match="no "):
        read(tmp_path / "nothing")
    with Ledger(tmp_path / "new.jsonl", IDENTITY) as ledger, pytest.raises(ValueError, match="compliant"):
        ledger.append("a", {"value": float("nan")})


def test_what_was_appended_before_kill_9_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    code = (
        "import sys; from pathlib import Path; from sim.bench.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(path)!r}), {IDENTITY!r})\n"
        "for i in range(3): ledger.append(f'a {i}', {})\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        with pytest.raises(LedgerError, match="another run"):
            Ledger(path, IDENTITY)
        os.kill(process.pid, signal.SIGKILL)
    # the lock went with the process
    with Ledger(path, IDENTITY) as ledger:
        assert ledger.done == {"a 0", "a 1", "a 2"}
