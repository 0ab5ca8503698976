"""A process ends with its parent, whatever ended that one; a parent that is gone is told."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHILD = """
import os, signal, sys, time
from sim.lifeline import end_with
print(end_with(int(sys.argv[1]), signal.SIGKILL), flush=True)
time.sleep(3600)
"""
PARENT = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
time.sleep(3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.timeout(60)
def test_a_killed_parent_takes_its_child_along() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"True\n"
        parent.kill()
        # the child holds the other end of this pipe for as long as it lives
        assert parent.stdout.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.timeout(60)
def test_a_parent_that_is_gone_is_told() -> None:
    stranger = "0"
    with subprocess.Popen([sys.executable, "-c", CHILD, stranger], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"False\n"
        child.kill()
