"""A long run: do memory, threads and files of the service stay where they are?

Streams, two more than there is room for unless told otherwise, and every half minute some peers that are
killed in a plan.
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
_LOOKED_AT = ("memory_mb", "threads", "files")
# what an idle service may hold more at the end than after the warm-up: share of memory, numbers
_MEMORY_SHARE, _THREADS, _FILES = 0.05, 2, 4


# a line is laid through the means of so many pieces of the time after the warm-up, which hang together less
# than neighbouring looks do; Student's t for 95% with two degrees of freedom fewer
_PIECES, _T95 = 10, 2.306


@dataclass(frozen=True)
class Soak:
    """How long, and who plans."""

    seconds: float
    robots: int
    # of each robot between two plans, s
    pause_s: float
    # peers that are killed in each round
    gone: int


def peers_to_kill(max_sessions: int, max_plans: int) -> int:
    """A quarter of what runs at once: the killed peers plan, and streams must go on beside them."""
    return max(1, min(max_sessions, max_plans) // 4)


def run(soak: Soak, bench: "Bench", console: Console) -> dict[str, Any]:
    """Rounds until the time is over; what was counted, every idle sample, and whether they are flat.

    Raises:
        DemoError: sessions stay open that nobody has.
    """
    idle = [bench.server.look()]
    busy: list[Sample] = []
    total, killed = Counted(), 0
    until_s = time.monotonic() + soak.seconds
    while (left_s := until_s - time.monotonic()) > 0:
        peers = start_peers(bench.server, bench.asked, soak.gone)
        try:
            case = bench.run(soak.robots, min(ROUND_S, left_s), pause_s=soak.pause_s, look=busy.append)
        finally:
            peers.kill()
            peers.join()
        killed += soak.gone
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
        **asdict(soak),
        "plans": total.plans,
        "rejected": total.rejected,
        "killed": killed,
        "errors": dict(total.errors),
        "busy_cores": (busy[-1].cpu_s - busy[0].cpu_s) / max(1e-9, busy[-1].at_s - busy[0].at_s),
        "busy_peak_mb": max(sample.memory_mb for sample in busy),
        "idle": [asdict(sample) for sample in idle],
        **judge(idle),
    }


def judge(idle: list[Sample]) -> dict[str, Any]:
    """Growth of an idle service after the warm-up: medians of the first and the last third, and a line."""
    warm = idle[int(len(idle) * _WARM) :]
    third = max(1, len(warm) // 3)
    found: dict[str, Any] = {"an_hour": {}}
    for name in _LOOKED_AT:
        values = [getattr(sample, name) for sample in warm]
        found[name] = [statistics.median(values[:third]), statistics.median(values[-third:])]
        found["an_hour"][name] = rise([sample.at_s / 3600 for sample in warm], values)
    allowed = {"memory_mb": _MEMORY_SHARE * found["memory_mb"][0], "threads": _THREADS, "files": _FILES}
    within = all(found[name][1] - found[name][0] <= most for name, most in allowed.items())
    # one third each of three rounds at least, or it would be compared with itself
    found["flat"] = within if len(warm) > 2 else None
    return found


def rise(hours: list[float], values: list[float]) -> list[float] | None:
    """Slope of a least-squares line, an hour, and half of its 95% interval; None: too few values to tell."""
    if len(values) < 2 * _PIECES:
        return None
    x, y = (np.array([piece.mean() for piece in np.array_split(all_, _PIECES)]) for all_ in (hours, values))
    spread = np.sum((x - x.mean()) ** 2)
    slope = np.sum((x - x.mean()) * (y - y.mean())) / spread
    left = y - y.mean() - slope * (x - x.mean())
    return [float(slope), float(_T95 * np.sqrt(np.sum(left**2) / (_PIECES - 2) / spread))]


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    if not found:
        return []
    before, after = ([found[name][n] for name in _LOOKED_AT] for n in (0, 1))
    return [
        f"soak of {found['seconds'] / 60:g} minutes, {found['robots']} robots with pauses of "
        f"{found['pause_s']:g} s: {found['plans']} plans, {found['rejected']} refused, "
        f"{found['killed']} peers killed, errors: {found['errors'] or 'none'}; "
        f"{found['busy_cores']:.2f} cores, at most {found['busy_peak_mb']:.0f} MB while busy",
        *(
            f"idle after {minutes:.0f} minutes: {_words([sample[name] for name in _LOOKED_AT])}"
            for minutes, sample in _each_ten_minutes(found["idle"])
        ),
        f"idle service, medians of the first and last third after the warm-up: {_words(before)}; "
        f"{_words(after)}: " + {True: "flat", False: "NOT FLAT", None: "too short to tell"}[found["flat"]],
        *(
            f"a line through its {words} rises by {slope[0]:+.2f} +- {slope[1]:.2f} an hour (95%)"
            for name, words in zip(_LOOKED_AT, ("MB", "threads", "files"), strict=True)
            if (slope := found["an_hour"][name]) is not None
        ),
    ]


def _each_ten_minutes(idle: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """Start, every ten minutes, end, each with its minutes since the start."""
    minutes = [(sample["at_s"] - idle[0]["at_s"]) / 60 for sample in idle]
    chosen = [n for n in range(1, len(idle) - 1) if minutes[n] // 10 > minutes[n - 1] // 10]
    return [(minutes[n], idle[n]) for n in (0, *chosen, len(idle) - 1)]


def _words(state: list[float]) -> str:
    return "{:.1f} MB, {:g} threads, {:g} files".format(*state)
