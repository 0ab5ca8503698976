"""Peers of `bench load` that go in the middle of a plan: how long until their sessions are free.

A killed peer's kernel closes its link, and the service hears of it at once. A stopped one keeps the link
open and says nothing more, as a robot out of reach does: only the service's keep-alive finds that.
"""

import multiprocessing
import os
import signal
from typing import Any

from rich.console import Console

from emu_planner.cli.bench_load_clients import Asked, hold_sessions
from emu_planner.cli.bench_load_server import Server
from emu_planner.cli.record import DemoError

_START_S = 60.0
# keep-alive asks after 20 s and waits 10 s (service/server.py)
_PATIENCE_S = 60.0


def measure(server: Server, asked: Asked, killed: int, stopped: int, console: Console) -> dict[str, Any]:
    """Seconds until the server has no session of them any more; None where it still had after a minute.

    Raises:
        DemoError: the peers did not come to plan.
    """
    found: dict[str, Any] = {}
    for name, count, number in (("killed", killed, signal.SIGKILL), ("stopped", stopped, signal.SIGSTOP)):
        if count:
            console.print(f"{count} peers {name} in a plan ...", highlight=False)
            found[name] = {"sessions": count, "freed_s": _go(server, asked, count, number)}
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    return [
        f"{one['sessions']} peers {name} in a plan: "
        + ("STILL OPEN" if one["freed_s"] is None else f"sessions free after {one['freed_s']:.2f} s")
        for name, one in found.items()
    ]


def start_peers(server: Server, asked: Asked, sessions: int) -> Any:
    """A process that holds so many sessions, planning. The caller ends it."""
    context = multiprocessing.get_context("spawn")
    words = context.Queue()
    peers = context.Process(target=hold_sessions, args=(server.target, sessions, asked, words), daemon=True)
    peers.start()
    try:
        words.get(timeout=_START_S)
    except Exception as error:
        peers.kill()
        raise DemoError(f"{sessions} peers did not come to plan within {_START_S:g} s") from error
    return peers


def _go(server: Server, asked: Asked, sessions: int, number: signal.Signals) -> float | None:
    before = server.sessions()
    peers = start_peers(server, asked, sessions)
    try:
        if server.sessions() - before < sessions:
            raise DemoError("the peers' sessions ended before they could go; nothing was measured")
        os.kill(peers.pid, number)
        return server.emptied_s(_PATIENCE_S)
    finally:
        peers.kill()
        peers.join()
