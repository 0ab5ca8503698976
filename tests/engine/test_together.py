"""Two processes that share a model, over gloo on a CPU: the tokens of one."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.two_processes import CHECKS

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 90


def run_two(folder: Path, device: str) -> list[dict[str, str]]:
    """What each of the two found, by check."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    logs = [(folder / f"{rank}.log").open("w+") for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.two_processes", str(folder), device],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=log,
            stderr=log,
        )
        for rank, log in enumerate(logs)
    ]
    deadline_s = time.monotonic() + LIMIT_S
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline_s:
            if any(process.poll() for process in processes):
                break  # the other one would wait for it
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    reports = []
    for rank, log in enumerate(logs):
        log.seek(0)
        report = folder / f"{rank}.json"
        reports.append(json.loads(report.read_text()) if report.is_file() else {"": log.read()})
        log.close()
    return reports


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_two(tmp_path_factory.mktemp("two"), "cpu")


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_two_processes(found, check):
    assert [report.get(check, report) for report in found] == ["", ""]
