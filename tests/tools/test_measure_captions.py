"""tools/measure_captions.py: what was said of each thing, and a run of it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybullet")

from tools.measure_captions import judge

ROOT = Path(__file__).parents[2]
TRUE = "the blue block on the table, the red block on the blue block, the red cylinder in the green tray"


def test_each_thing_is_judged_by_what_was_said_of_it():
    assert judge(TRUE, TRUE) == {"right": 3}
    assert judge(TRUE.replace("the red cylinder in", "the red block in"), TRUE) == {
        "right": 2,
        "another kind": 1,
    }
    assert judge(TRUE.replace("on the table", "in the green tray"), TRUE) == {"right": 2, "another place": 1}
    assert judge("the blue block on the table", TRUE) == {"right": 1, "not named": 2}
    assert judge("", TRUE) == {"not named": 3}


def test_nano_sees_most_of_a_scene():
    done = subprocess.run(
        [sys.executable, "-m", "tools.measure_captions", "--scenes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.count("│") > 5}
    assert {"stack", "container", "all"} <= set(rows), done.stdout
    things, right = (int(rows["all"].split("│")[2]), float(rows["all"].split("│")[3].split("%")[0]))
    assert things > 4
    assert right > 30, "its captions are no better than guesses"
