"""tools/measure_rig.py: real processes, real DDS, a table."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("emu_planner_msgs")

ROOT = Path(__file__).parents[2]


def measured(*words: str) -> list[list[str]]:
    """Rows of the table that it prints, the head among them."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.measure_rig", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]


@pytest.mark.ros
def test_latencies_are_of_each_leg():
    rows = measured("latency", "--plans", "3")
    assert [row[0] for row in rows[2:]] == [
        "camera stamp to service",
        "service to ~/plan",
        "goal sent to result received",
    ]
    for _, median, p99 in rows[2:]:
        assert 0 < float(median) <= float(p99)


def test_the_profile_has_room_for_a_raw_picture_of_1080p():
    text = (ROOT / "deploy" / "fastdds.xml").read_text()
    (size,) = (e for e in ElementTree.fromstring(text).iter() if e.tag.endswith("segment_size"))
    assert int(size.text) > 2 * 1920 * 1080 * 3
    assert re.search("export FASTRTPS_DEFAULT_PROFILES_FILE=", text)
