"""Processes that a demo starts: their logs, their end, their memory, and a ROS domain of their own.

Knows no ROS message and no planner.
"""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

from emu_planner.cli.record import DemoError

_MEMORY_PERIOD_S = 0.25
# how long a process may take to end when it is asked to, s
_PATIENCE_S = 5.0
# with higher domains Fast DDS's ports run into those that Linux hands out
_LAST_DOMAIN = 101


class Children:
    """Python modules as processes; leaving the context stops all of them, whatever happened.

    When this process is killed, they get SIGTERM (see cli/child.py; start them from the main thread).

    Args:
        logs: folder for one log file a process.
        environment: variables to set on top of this process's own.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._environment = logs, {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m module arguments`; its output goes to <logs>/<name>.log."""
        with open(self._log(name), "wb") as log:
            # a session of its own: Ctrl-C reaches this process only, which then stops the others
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "emu_planner.cli.child", str(os.getpid()), module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """DemoError when a process has ended; it tells the end of its log."""
        for name, process in self.processes.items():
            status = process.poll()
            if status is not None:
                last = self._log(name).read_text(errors="replace").strip().splitlines()[-6:]
                told = "\n  ".join(last) or "(nothing)"
                raise DemoError(
                    f"the {name} ended with status {status}; {self._log(name)} ends with\n  {told}"
                )

    def stop(self) -> None:
        """Ask every process to end, and make those end that do not."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '_')}.log"


class MemoryWatch:
    """Samples resident memory of this process and all that it started, in a thread.

    Pages that processes share are counted in each of them, so the sum is an upper bound.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._peaks: dict[str, float] = {}
        self._all = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory-watch", daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def peak_mb(self, name: str) -> float | None:
        """Peak of one process, MB; None when it was not started here."""
        return self._peaks.get(name)

    @property
    def peak_all_mb(self) -> float:
        """Peak of the sum of all processes, MB."""
        return self._all

    def _work(self) -> None:
        while not self._stopping.wait(_MEMORY_PERIOD_S):
            total = psutil.Process().memory_info().rss / 1e6
            for name, process in list(self._children.processes.items()):
                used = _tree_mb(process.pid)
                self._peaks[name] = max(self._peaks.get(name, 0.0), used)
                total += used
            self._all = max(self._all, total)


def _tree_mb(pid: int) -> float:
    """Resident memory of a process and its children; 0 when it is gone."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss / 1e6
    return total


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_domain() -> int:
    """A ROS domain in which no process of this machine takes part.

    The first participant of a domain takes the UDP port 7410 + 250 * domain (RTPS 2.2, 9.6.1.1).
    """
    domains = list(range(1, _LAST_DOMAIN + 1))
    random.shuffle(domains)
    for domain in domains:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("", 7410 + 250 * domain))
            return domain
    raise DemoError("all ROS domains are in use on this machine; set ROS_DOMAIN_ID")
