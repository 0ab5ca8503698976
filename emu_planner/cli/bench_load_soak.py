"""A long run at the service's limit: do memory, threads and files stay where they are?

Full streams, two more than there is room for, and every half minute some peers that are killed in a plan.
Between two rounds everybody leaves, and the service is looked at while it is idle: what it then holds is
what it keeps.
"""

import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from emu_planner.cli.bench_load_clients import Counted
from emu_planner.cli.bench_load_gone import start_peers
from emu_planner.cli.bench_load_server import Sample
from emu_planner.cli.record import DemoError

if TYPE_CHECKING:
    from emu_planner.cli.bench_load import Bench

ROUND_S = 30.0
# rounds at the beginning that are not judged: allocators and thread pools fill
_WARM = 0.25
# what an idle service may hold more at the end than after the warm-up: share of memory, numbers
_MEMORY_SHARE, _THREADS, _FILES = 0.05, 2, 4


@dataclass(frozen=True)
class Soak:
    """How long, and the service's limits."""

    seconds: float
    max_sessions: int
    max_plans: int


def run(soak: Soak, bench: "Bench", console: Console) -> dict[str, Any]:
    """Rounds until the time is over; what was counted, every idle sample, and whether they are flat.

    Raises:
        DemoError: sessions stay open that nobody has.
    """
    idle: list[Sample] = []
    busy: list[Sample] = []
    total, killed = Counted(), 0
    until_s = time.monotonic() + soak.seconds
    # half of the sessions at most: the killed peers plan, and streams must go on beside them
    gone = max(1, min(soak.max_sessions, soak.max_plans) // 4)
    while (left_s := until_s - time.monotonic()) > 0:
        peers = start_peers(bench.server, bench.asked, gone)
        try:
            case = bench.run(soak.max_sessions + 2, min(ROUND_S, left_s), look=busy.append)
        finally:
            peers.kill()
            peers.join()
        killed += gone
        total.add(case.counted)
        if bench.server.emptied_s(20.0) is None:
            raise DemoError("sessions stayed open 20 s after everybody had left; see the service's log")
        idle.append(bench.server.look())
        last = idle[-1]
        console.print(
            f"soak: {total.plans} plans, {total.rejected} refused; idle: {last.memory_mb:.1f} MB, "
            f"{last.threads} threads, {last.files} files",
            highlight=False,
        )
    return {
        "seconds": soak.seconds,
        "plans": total.plans,
        "rejected": total.rejected,
        "killed": killed,
        "errors": dict(total.errors),
        "busy_peak_mb": max(sample.memory_mb for sample in busy),
        "idle": [asdict(sample) for sample in idle],
        **judge(idle),
    }


def judge(idle: list[Sample]) -> dict[str, Any]:
    """Growth of an idle service after the warm-up: medians of the first and the last third, and a line."""
    warm = idle[int(len(idle) * _WARM) :]
    third = max(1, len(warm) // 3)
    hours = [sample.at_s / 3600 for sample in warm]
    slope = float(np.polyfit(hours, [sample.memory_mb for sample in warm], 1)[0]) if len(warm) > 2 else None
    found: dict[str, Any] = {"memory_mb_an_hour": slope}
    for name in ("memory_mb", "threads", "files"):
        values = [getattr(sample, name) for sample in warm]
        found[name] = [statistics.median(values[:third]), statistics.median(values[-third:])]
    allowed = {"memory_mb": _MEMORY_SHARE * found["memory_mb"][0], "threads": _THREADS, "files": _FILES}
    within = all(found[name][1] - found[name][0] <= most for name, most in allowed.items())
    # one third each of three rounds at least, or it would be compared with itself
    found["flat"] = within if len(warm) > 2 else None
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    if not found:
        return []
    slope = found["memory_mb_an_hour"]
    line = "" if slope is None else f" (a line through it: {slope:+.1f} MB an hour)"
    before, after = ([found[name][n] for name in ("memory_mb", "threads", "files")] for n in (0, 1))
    return [
        f"soak of {found['seconds'] / 60:g} minutes: {found['plans']} plans, {found['rejected']} refused, "
        f"{found['killed']} peers killed, errors: {found['errors'] or 'none'}; at most "
        f"{found['busy_peak_mb']:.0f} MB while busy",
        f"idle service, medians of the first and last third after the warm-up: {_words(before)}; "
        f"{_words(after)}{line}: "
        + {True: "flat", False: "NOT FLAT", None: "too short to tell"}[found["flat"]],
    ]


def _words(state: list[float]) -> str:
    return "{:.1f} MB, {:g} threads, {:g} files".format(*state)
