"""The command line as a user sees it: help, lazy imports, errors in words and exit statuses."""

import subprocess
import sys

import pytest

from emu_planner.cli.main import COMMANDS
from tests.cli.runs import run_cli, run_here


def test_help_names_every_subcommand():
    done = run_cli("--help")
    assert done.returncode == 0
    for name, summary in COMMANDS.items():
        assert name in done.stdout
        assert " ".join(summary.split()[:3]) in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_subcommand_has_help(name):
    done = run_here(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"emu-planner {name}" in done.stdout


def test_no_subcommand_and_an_unknown_one_are_refused():
    for words in ((), ("dance",)):
        done = run_here(*words)
        assert done.returncode == 2
        assert "usage" in done.stderr


def test_planning_elsewhere_needs_no_torch(tmp_path):
    code = (
        "import sys; from emu_planner.cli.main import main;"
        "print(main(['plan', '--task', 'x', '--image', 'nowhere.png', '--server', '127.0.0.1:1']));"
        "print([m for m in ('torch', 'rclpy', 'pybullet') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]


def test_serve_says_what_is_wrong_with_a_checkpoint_or_an_address(tmp_path):
    done = run_cli("serve", "--port", "0", "--checkpoint", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert "no checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_cli("serve", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "can be reached from other machines" in done.stderr


def test_demo_refuses_what_does_not_fit_together(tmp_path):
    for words, told in (
        (["--attach", "--seed", "3"], "--seed"),
        (["--attach", "--robot", "kuka"], "--robot"),
        (["--image", "x.png", "--task", "x", "--robot", "kuka"], "--robot"),
        (["--robot", "ur5"], "invalid choice: 'ur5'"),
        (["--scene", "button", "--robot", "kuka"], "a kuka can neither lead a knob nor push"),
        (["--image", "x.png"], "--task"),
        (["--image", str(tmp_path), "--task", "x"], "there is no file"),
        (["--server", "a:1", "--checkpoint", "nano"], "--checkpoint"),
        (["--seed", "-1"], "negative"),
    ):
        done = run_cli("demo", "--out", str(tmp_path / "out"), *words)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_the_demo_offers_the_robots_and_families_that_there_are():
    """It starts processes and imports no simulator, so it has lists of its own."""
    from emu_planner.cli import demo
    from sim import tasks
    from sim.robots import ROBOTS

    assert list(demo.ROBOTS) == list(ROBOTS)
    assert list(demo.FAMILIES) == list(tasks.FAMILIES)
    assert demo._LEADERS == tasks.LEADERS
    assert set(demo._LED) == {name for name in tasks.FAMILIES if tasks.robots_for(name) == tasks.LEADERS}


def test_data_refuses_an_unknown_robot_with_those_that_there_are(tmp_path):
    done = run_here("data", "sim", "--out", str(tmp_path / "no"), "--robot", "ur5")
    assert done.returncode == 2
    assert "unknown robot 'ur5'; expected one of panda, kuka, xarm, mobile" in done.stdout + done.stderr
    assert not (tmp_path / "no").exists()
