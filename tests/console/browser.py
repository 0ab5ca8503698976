"""A console process and a headless Chromium, for tests of the page. No test waits for a fixed time."""

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu_planner.wire.client import RemotePlanner

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 30_000
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]


class ConsoleProcess:
    """`emu-planner console` on a free port."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.sessions = folder / "sessions"
        self._cover = folder / "covered"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.url = self._wait_for_url()

    def pause(self) -> None:
        """Let it say nothing, as a broken network would."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def cover(self) -> None:
        """Of a blinking robot: let its camera see nothing."""
        self._cover.touch()

    def uncover(self) -> None:
        self._cover.unlink()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def close(self) -> None:
        """Ask it to end; it must do so by itself."""
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _wait_for_url(self) -> str:
        while (line := self._lines.get(timeout=60)) is not None:
            if found := re.search(r"https?://\S+", line):
                return found.group()
        raise AssertionError("the console ended: " + "".join(self.said))


@contextlib.contextmanager
def console(folder: Path, *arguments: str) -> Iterator[ConsoleProcess]:
    """`emu-planner console` with these arguments."""
    command = ("-m", "emu_planner.cli.main", "console", "--port", "0")
    process = ConsoleProcess(folder, *command, "--sessions", str(folder / "sessions"), *arguments)
    try:
        yield process
    finally:
        process.close()
    assert process.process.returncode in (0, -signal.SIGKILL), "".join(process.said)


@contextlib.contextmanager
def blinking_robot(folder: Path) -> Iterator[ConsoleProcess]:
    """The page around a robot whose camera can be covered."""
    process = ConsoleProcess(folder, "-m", "tests.console.blinking", str(folder / "covered"))
    try:
        yield process
    finally:
        process.close()


@contextlib.contextmanager
def serving(token_delay_s: float) -> Iterator[str]:
    """A planner service around a FakePlanner; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.service.serve_fake", address, str(token_delay_s)]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        with RemotePlanner(address) as planner:
            planner.wait_ready(60.0)
        yield address
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def chromium() -> Iterator:
    """A browser that can reach nothing but this machine; skips where there is none."""
    pytest.importorskip("nicegui", reason="the page needs requirements/console.txt")
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need requirements/dev.txt")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


def open_page(browser, url: str, name: str = "", size: tuple[int, int] = (1280, 800)):
    """A page of its own browser profile; whatever it asks of another machine fails the test."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.foreign = []
    page.broken = []
    page.on(
        "request", lambda r: None if r.url.startswith((url, "data:", "ws")) else page.foreign.append(r.url)
    )
    page.on("pageerror", lambda error: page.broken.append(str(error)))
    page.goto(url)
    if name:
        page.fill("#operator", name)
        page.locator("#operator").blur()
    return page
