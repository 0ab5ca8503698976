"""The page around a robot whose camera sees nothing while a file exists: python -m ... FILE."""

import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

from emu_planner.console.app import WebConfig, serve
from emu_planner.console.hub import Hub
from emu_planner.console.local import LocalLimits, LocalRobot
from emu_planner.goal.feed import CameraFeed
from emu_planner.plan import Frame
from tests.console.test_local import Hands
from tests.fakes import FakePlanner


def look(feed: CameraFeed, cover: Path) -> None:
    while True:
        if not cover.exists():
            feed.put(Frame(np.full((8, 8, 3), 99, np.uint8), "front", time.time()))
        time.sleep(0.05)


def main() -> None:
    feed = CameraFeed(("front",))
    threading.Thread(target=look, args=(feed, Path(sys.argv[1])), daemon=True).start()
    limits = LocalLimits(observation_max_age_s=3.0)
    robot = LocalRobot(FakePlanner(), feed, Hands(), robot="BENCH", planner_name="a fake", limits=limits)
    hub = Hub(robot)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        serve(WebConfig(listener, frozenset({"127.0.0.1"})), hub, None)
    hub.close()


if __name__ == "__main__":
    main()
