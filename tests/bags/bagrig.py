"""A recorder as a process beside a test's rig, and what it wrote."""

import os
import subprocess
import sys
import time
from pathlib import Path

from emu_planner.bags.read import open_bag
from emu_planner.bags.session import Session, read_session
from tests.ros.rig import ROOT, Rig, until


def start_recorder(rig: Rig, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    """`emu-planner bag record`, as a process; returns once it hears the planner and its cameras."""
    before = {topic: rig.node.count_subscribers(topic) for topic in ("/cam/image_raw", "/planner/observed")}
    process = rig._start("-m", "emu_planner.cli.main", "bag", "record", str(folder), *options)
    for topic, count in before.items():
        until(lambda: rig.node.count_subscribers(topic) > count, f"the recorder on {topic}")  # noqa: B023
    # the planner node's side of the match has no signal in rclpy
    time.sleep(0.5)
    return process


def only_bag(folder: Path) -> Path:
    (bag,) = folder.glob("emu_planner_*")
    return bag


def session_of(path: Path) -> Session:
    with open_bag(path) as bag:
        return read_session(bag)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`emu-planner bag ...`"""
    return subprocess.run(
        [sys.executable, "-m", "emu_planner.cli.main", "bag", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
