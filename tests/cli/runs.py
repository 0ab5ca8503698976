"""Runs of the command line: in processes of their own, or in this one where nothing is started."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from emu_planner.cli.main import main

ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "emu_planner.cli.main")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def start_cli(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*_COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
        # who starts the tests in the background may ignore SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run_cli(*words: str, timeout_s: float = 90.0) -> "subprocess.CompletedProcess[str]":
    """The finished process; its output is text."""
    with start_cli(*words) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def run_here(*words: str) -> "subprocess.CompletedProcess[str]":
    """The same in this process, which has imported torch already; an exception comes out as one."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, COLUMNS="100"),
    ):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def scripted_service(family: str, seed: int, token_delay_s: float = 0.0) -> Iterator[str]:
    """A service around the oracle's plan for one scene, in a process of its own; its address."""
    words = ("-m", "tests.cli.scripted_service", family, str(seed), str(token_delay_s))
    with subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # pybullet says its build time first
            lines = iter(process.stdout.readline, "")
            yield next(line for line in lines if line.startswith("127.0.0.1")).strip()
        finally:
            process.stdin.close()
