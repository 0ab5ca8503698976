"""The service of `bench load`, in a process of its own, and what it takes of the machine. Knows no client."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from rich.console import Console

from emu_planner.cli.processes import Children, free_port
from emu_planner.cli.record import DemoError
from emu_planner.cli.service import wait_for_service
from emu_planner.wire.client import RemotePlanner

# between two looks at the process, s
LOOK_S = 0.25
# of glibc: what is freed goes back to the system at once, so that the memory of an idle server is what it
# holds, and not what its heap keeps for later. It costs a model a fifth of its speed, so none is served so
_PLAIN_HEAP = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Sample:
    """One look at the server's process."""

    # since the watch began
    at_s: float
    # CPU time so far, user and system
    cpu_s: float
    memory_mb: float
    threads: int
    # open file descriptors: sockets, pipes, files
    files: int


@dataclass(frozen=True)
class Served:
    """How the service is started."""

    # None: the paced planner, which no model is needed for
    checkpoint: str | None
    max_sessions: int
    max_plans: int
    # of the paced planner
    token_ms: float = 2.0
    steps: int = 3

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        return _PLAIN_HEAP if self.checkpoint is None else {}

    def words(self, port: int) -> tuple[str, ...]:
        """The module and its arguments."""
        limits = ("--max-sessions", str(self.max_sessions), "--max-plans", str(self.max_plans))
        if self.checkpoint is not None:
            serve = ("emu_planner.cli.main", "serve", "--checkpoint", self.checkpoint)
            return (*serve, "--port", str(port), *limits)
        pace = ("--token-ms", str(self.token_ms), "--steps", str(self.steps))
        return ("emu_planner.cli.paced_service", "--port", str(port), *pace, *limits)


class Server:
    """A service that answers at `target`.

    Args:
        name: of its log.
        served: how to start it.
        children: where its process lives; it ends with them.
        console: what is said while it loads.

    Raises:
        DemoError: it does not start.
    """

    def __init__(self, name: str, served: Served, children: Children, console: Console) -> None:
        port = free_port()
        self.target = f"127.0.0.1:{port}"
        self._children = children
        module, *arguments = served.words(port)
        children.start(name, module, *arguments)
        wait_for_service(self.target, children, console)
        self._process = psutil.Process(children.processes[name].pid)
        self._begun_s = time.monotonic()

    def look(self) -> Sample:
        """Take a sample. DemoError: the process has ended."""
        self._children.check()
        with self._process.oneshot():
            cpu = self._process.cpu_times()
            return Sample(
                time.monotonic() - self._begun_s,
                cpu.user + cpu.system,
                self._process.memory_info().rss / 1e6,
                self._process.num_threads(),
                self._process.num_fds(),
            )

    def sessions(self) -> int:
        """How many are open."""
        with RemotePlanner(self.target) as planner:
            return planner.server_info().active_sessions

    def emptied_s(self, patience_s: float) -> float | None:
        """Seconds until no session is open any more; None when that takes longer than `patience_s`."""
        begun_s = time.monotonic()
        with RemotePlanner(self.target) as planner:
            while (spent_s := time.monotonic() - begun_s) < patience_s:
                if planner.server_info().active_sessions == 0:
                    return spent_s
                time.sleep(0.02)
        return None


@dataclass(frozen=True)
class Used:
    """What a case took of the server: CPU in cores, the rest at its highest."""

    cores: float
    memory_mb: float
    threads: int
    files: int

    @classmethod
    def over(cls, samples: list[Sample]) -> "Used":
        """From two samples or more, the first taken before the case."""
        if len(samples) < 2:
            raise DemoError("the case was over before the server could be looked at twice; make it longer")
        first, last = samples[0], samples[-1]
        return cls(
            (last.cpu_s - first.cpu_s) / max(1e-9, last.at_s - first.at_s),
            max(sample.memory_mb for sample in samples),
            max(sample.threads for sample in samples),
            max(sample.files for sample in samples),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
