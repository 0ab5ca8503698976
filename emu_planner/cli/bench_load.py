"""`emu-planner bench load`: one real service and many clients, to its limit and past it. A composition root.

Server and clients share this machine, so the figures are of both together; what the server alone takes
stands beside them. `--soak MINUTES` goes on at the limit, with clients that are killed, and shows whether
memory, threads and files stay where they are.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from emu_planner.cli import bench_load_gone, bench_load_overhead, bench_load_soak
from emu_planner.cli.arguments import counts, positive
from emu_planner.cli.bench_load_clients import Asked, Counted, Streams, read_slowly, run_streams
from emu_planner.cli.bench_load_server import LOOK_S, Sample, Served, Server, Used
from emu_planner.cli.processes import Children

DEFAULT_STREAMS = "1,4,8,16,24"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument(
        "--checkpoint",
        metavar="nano|FOLDER",
        help="serve this model (default: a planner that keeps a pace and computes nothing)",
    )
    parser.add_argument(
        "--streams",
        type=counts,
        default=counts(DEFAULT_STREAMS),
        metavar="N,N,...",
        help=f"robots at once, a case each (default: {DEFAULT_STREAMS})",
    )
    parser.add_argument("--task", default=Asked.task, help="the sentence (default: %(default)s)")
    parser.add_argument(
        "--cameras",
        type=lambda text: tuple(text.split(",")),
        default=Asked.cameras,
        metavar="NAME,...",
        help=f"of each robot, as the checkpoint knows them (default: {','.join(Asked.cameras)})",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case (default: %(default)g)")
    parser.add_argument("--processes", type=positive, default=4, help="of clients (default: %(default)s)")
    parser.add_argument("--max-sessions", type=positive, default=16, help="the limit (default: %(default)s)")
    parser.add_argument("--max-plans", type=positive, default=8, help="at once (default: %(default)s)")
    parser.add_argument(
        "--token-ms", type=float, default=2.0, help="pace without a model (default: %(default)g)"
    )
    parser.add_argument(
        "--slow", type=int, default=4, help="slow readers; 0: no such case (default: %(default)s)"
    )
    parser.add_argument(
        "--gone", type=int, default=4, help="peers that are killed in a plan; 0: none (default: %(default)s)"
    )
    parser.add_argument(
        "--stopped",
        type=int,
        default=2,
        help="peers that stop without closing their link, found by keep-alive after some 30 s; "
        "0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=40,
        help="plans of each kind for the overhead; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--soak", type=float, default=0.0, metavar="MINUTES", help="go on so long at the limit"
    )
    parser.add_argument(
        "--soak-robots", type=positive, metavar="N", help="of the soak (default: two above --max-sessions)"
    )
    parser.add_argument(
        "--soak-pause",
        type=float,
        default=0.0,
        metavar="S",
        help="of each robot between two plans of the soak (default: %(default)g)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="default: %(default)s")


def bench_load(args: argparse.Namespace, console: Console) -> int:
    """Run every case; 0, or 1 when sessions stayed open that nobody has, or the soak was not flat."""
    served = Served(args.checkpoint, args.max_sessions, args.max_plans, args.token_ms)
    results: dict[str, Any] = {"served": asdict(served), "cores": os.cpu_count(), "cases": []}
    with Children(args.out / "logs", served.environment) as children, _clients(args.processes) as clients:
        server = Server("load service", served, children, console)
        bench = Bench(server, clients, args.processes, Asked(args.task, args.cameras))
        for name, case in _cases(args, bench):
            console.print(f"robots: {name} ...", highlight=False)
            results["cases"].append({"name": name, **case().as_dict()})
        if args.gone or args.stopped:
            results["gone"] = bench_load_gone.measure(server, bench.asked, args.gone, args.stopped, console)
        if args.pairs:
            results["overhead"] = bench_load_overhead.measure(args.pairs, children, console)
        if args.soak:
            robots = args.soak_robots or args.max_sessions + 2
            gone = bench_load_soak.peers_to_kill(args.max_sessions, args.max_plans)
            soak = bench_load_soak.Soak(60 * args.soak, robots, args.soak_pause, gone)
            results["soak"] = bench_load_soak.run(soak, bench, console)
        results["left_open"] = 0 if server.emptied_s(20.0) is not None else server.sessions()
    _show(results, console)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "load.json").write_text(json.dumps(results, indent=1) + "\n")
    console.print(f"all figures: {args.out / 'load.json'}", soft_wrap=True, markup=False)
    leaks = results.get("soak", {}).get("flat") is False
    stuck = any(one["freed_s"] is None for one in results.get("gone", {}).values())
    return 1 if leaks or stuck or results["left_open"] else 0


@dataclass(frozen=True)
class Case:
    """What a case came to."""

    streams: int
    seconds: float
    counted: Counted
    used: Used
    # responses that the slow readers took, where there were any
    slowly: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON and the tables; times in seconds."""
        counted = self.counted
        times = {
            name: percentiles(getattr(counted, name)) for name in ("first_word", "first_subgoal", "step")
        }
        return {
            "streams": self.streams,
            "plans": counted.plans,
            "plans_a_second": counted.plans / self.seconds,
            **times,
            "rejected": counted.rejected,
            "retry_s": percentiles(counted.retry),
            "errors": dict(counted.errors),
            "slowly_read": self.slowly,
            "server": self.used.as_dict(),
        }


@dataclass(frozen=True)
class Bench:
    """A server, and processes from which to load it."""

    server: Server
    clients: ProcessPoolExecutor
    processes: int
    asked: Asked

    def run(
        self,
        streams: int,
        seconds: float,
        slow: int = 0,
        *,
        pause_s: float = 0.0,
        look: Callable[[Sample], None] | None = None,
    ) -> Case:
        """So many streams for so long, beside slow readers; `look` sees each sample of the server."""
        samples = [self.server.look()]
        begun_s = time.monotonic()
        shares = [streams // self.processes + (n < streams % self.processes) for n in range(self.processes)]
        target = self.server.target
        working = [
            self.clients.submit(run_streams, Streams(target, n, seconds, self.asked, pause_s))
            for n in shares
            if n
        ]
        slowly = [self.clients.submit(read_slowly, target, slow, seconds, self.asked)] if slow else []
        futures: list[Future[Any]] = [*working, *slowly]
        while not all(future.done() for future in futures):
            time.sleep(LOOK_S)
            samples.append(self.server.look())
            if look is not None:
                look(samples[-1])
        total = Counted()
        for future in working:
            total.add(future.result())
        spent_s = time.monotonic() - begun_s
        return Case(streams, spent_s, total, Used.over(samples), sum(future.result() for future in slowly))


def percentiles(values: list[float]) -> dict[str, float] | None:
    """Median, 99th percentile (nearest rank), largest, and of how many; None of nothing."""
    if not values:
        return None
    p50, p99 = np.percentile(values, (50, 99), method="inverted_cdf")
    return {"p50": float(p50), "p99": float(p99), "max": max(values), "count": len(values)}


def _cases(args: argparse.Namespace, bench: Bench) -> Iterator[tuple[str, Callable[[], Case]]]:
    # the first case of a process pays for its imports; nobody counts it
    yield "warm-up", lambda: bench.run(args.processes, min(2.0, args.seconds))
    for streams in args.streams:
        yield str(streams), lambda n=streams: bench.run(n, args.seconds)  # type: ignore[misc]
    if args.slow:
        # as many streams as there is room for beside the readers, in sessions
        fast = max(1, min(max(args.streams), args.max_sessions) - args.slow)
        yield f"{fast} + {args.slow} slow", lambda: bench.run(fast, args.seconds, args.slow)


@contextlib.contextmanager
def _clients(processes: int) -> Iterator[ProcessPoolExecutor]:
    # spawned, not forked: gRPC's threads do not survive a fork. One more for the slow readers
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes + 1, mp_context=context) as pool:
        yield pool


def _show(results: dict[str, Any], console: Console) -> None:
    served = results["served"]
    model = served["checkpoint"] or f"paced planner, {served['token_ms']:g} ms a token"
    title = (
        f"{model}; {served['max_sessions']} sessions and {served['max_plans']} plans at most; "
        f"{results['cores']} cores for all"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    table.add_column("robots", no_wrap=True)
    for name in ("plans/s", "subgoal", "step", "refused", "cores", "MB", "thr", "fds"):
        table.add_column(name, justify="right", no_wrap=True)
    for case in results["cases"][1:]:
        used, retry = case["server"], case["retry_s"]
        table.add_row(
            case["name"],
            f"{case['plans_a_second']:.1f}",
            _milliseconds(case["first_subgoal"]),
            _milliseconds(case["step"]),
            f"{case['rejected']}" + (f" ({retry['p50']:g} s)" if retry else ""),
            f"{used['cores']:.2f}",
            f"{used['memory_mb']:.0f}",
            str(used["threads"]),
            str(used["files"]),
        )
    console.print(table)
    for line in (
        "subgoal: from the call to the first whole one; step: to each later one; ms: median / 99th percent",
        "refused: told RESOURCE_EXHAUSTED (and to wait so long); of the server: CPU, memory, threads, files",
        *_error_lines(results["cases"]),
        *bench_load_gone.lines(results.get("gone", {})),
        *bench_load_overhead.lines(results.get("overhead", {})),
        *_share_lines(results),
        *bench_load_soak.lines(results.get("soak", {})),
        f"sessions left open at the end: {results['left_open']}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _share_lines(results: dict[str, Any]) -> list[str]:
    single = next((case for case in results["cases"][1:] if case["name"] == "1" and case["step"]), None)
    if single is None or "overhead" not in results:
        return []
    return [bench_load_overhead.share(results["overhead"], 1e3 * single["step"]["p50"])]


def _error_lines(cases: list[dict[str, Any]]) -> list[str]:
    failed = [f"{case['name']}: {case['errors']}" for case in cases if case["errors"]]
    return [f"plans that failed: {'; '.join(failed) or 'none'}"]


def _milliseconds(times: dict[str, float] | None) -> str:
    return f"{1e3 * times['p50']:.0f} / {1e3 * times['p99']:.0f}" if times else ""
