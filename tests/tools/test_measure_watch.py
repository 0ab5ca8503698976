"""tools/measure_watch.py shows whole motions to the watch and counts drifting looks in a row."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybullet")

from emu_planner.plan import Verdict
from tools.measure_watch import _longest_drift

ROOT = Path(__file__).parents[2]


def test_a_run_of_drifting_looks_is_broken_by_any_other():
    drifting, unknown, reached = Verdict.DRIFTING, Verdict.UNKNOWN, Verdict.REACHED
    assert _longest_drift([drifting, unknown, drifting, drifting, reached, drifting]) == 2
    assert _longest_drift([unknown, reached]) == 0


def test_one_scene_is_measured():
    done = subprocess.run(
        [sys.executable, "-m", "tools.measure_watch", "--families", "relate", "--seeds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    foreseen, displaced = (
        [line for line in done.stdout.splitlines() if words in line]
        for words in ("as foreseen", "something displaced")
    )
    assert len(foreseen) == len(displaced) == 2, "two tables with a row of each"
