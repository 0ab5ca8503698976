"""`emu-planner demo` end to end: service, planner node, simulator and operator in processes of their own.

The planner behind the service plays the oracle's plan for the scene; all else is the real thing.
"""

import json
import signal
import sys
import time

import psutil
import pytest

pytest.importorskip("emu_planner_msgs")

from emu_planner.cli.pictures import read_picture
from emu_planner.cli.processes import Children, free_domain
from tests.cli.runs import run_cli, scripted_service, start_cli

pytestmark = pytest.mark.ros

FAMILY, SEED = "container", 1_000_000_002


def demo(server, out, *words):
    return run_cli("demo", "--server", server, "--out", str(out), *words)


def test_a_task_is_planned_carried_out_and_shown(tmp_path):
    with scripted_service(FAMILY, SEED) as server:
        done = demo(server, tmp_path, "--scene", FAMILY, "--seed", str(SEED))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["succeeded"] is True
    assert all(report["conditions"].values())
    assert report["source"] == f"{FAMILY} scene {SEED}, robot panda"
    assert 0 < report["first_words_s"] <= report["first_keyframe_s"] <= report["plan_s"]
    assert len(report["steps"]) >= 2
    pages = (tmp_path / "index.html").read_text()
    for number, step in enumerate(report["steps"], 1):
        assert step["state"] == "succeeded"
        assert step["executed_s"] > 0
        assert step["words"] in pages
        assert f"step {number}: {step['words']}" in done.stdout
        before, keyframe, after = (
            read_picture(tmp_path / f"step-{number:02d}-{kind}.png").astype(int)
            for kind in ("before", "keyframe", "after")
        )
        # the oracle's keyframes show what will really happen, up to physics
        assert abs(after - keyframe).mean() < 0.25 * abs(after - before).mean()
    assert read_picture(tmp_path / "contact_sheet.png").shape[0] > 192 * len(report["steps"])
    assert "task done" in done.stdout
    assert "all processes" in done.stdout
    assert {log.name for log in (tmp_path / "logs").glob("*.log")} == {"planner_node.log", "simulator.log"}


def test_a_picture_of_ones_own_is_planned_from_and_nothing_moves(tmp_path):
    scene = ("--scene", "zone", "--robot", "xarm")
    with scripted_service(FAMILY, SEED) as server:
        assert demo(server, tmp_path / "a", "--no-execute", *scene).returncode == 0
        own = tmp_path / "a" / "step-01-before.png"
        words = ("--image", str(own), "--task", "put <it> away")
        done = demo(server, tmp_path / "b", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    source = json.loads((tmp_path / "a" / "report.json").read_text())["source"]
    assert source.startswith("zone scene ")
    assert source.endswith(", robot xarm")
    for name in ("a", "b"):
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["succeeded"] is None
        assert {step["state"] for step in report["steps"]} == {"planned"}
        assert all(step["executed_s"] is None for step in report["steps"])
        assert not list((tmp_path / name).glob("step-*-after.png"))
    assert report["task"] == "put <it> away"
    assert (read_picture(tmp_path / "b" / "step-01-before.png") == read_picture(own)).all()
    assert not (tmp_path / "b" / "logs" / "simulator.log").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_every_process(tmp_path, number):
    with scripted_service(FAMILY, SEED, token_delay_s=5.0) as server:
        process = start_cli("demo", "--server", server, "--out", str(tmp_path))
        deadline = time.monotonic() + 60.0
        assert process.stdout is not None
        while "planner node: active" not in process.stdout.readline():
            assert time.monotonic() < deadline
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        process.send_signal(number)
        out, err = process.communicate(timeout=60.0)
    assert process.returncode == 130
    assert "stopped" in err
    assert "Traceback" not in out + err
    _, alive = psutil.wait_procs(children, timeout=0)
    assert not alive
    assert not (tmp_path / "index.html").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_killed_demo_leaves_no_process(tmp_path):
    with scripted_service(FAMILY, SEED, token_delay_s=5.0) as server:
        process = start_cli("demo", "--server", server, "--out", str(tmp_path))
        deadline = time.monotonic() + 60.0
        assert process.stdout is not None
        while "planner node: active" not in process.stdout.readline():
            assert time.monotonic() < deadline
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        process.kill()
        process.communicate(timeout=60.0)
        _, left = psutil.wait_procs(children, timeout=30.0)
        alive = [child for child in left if not is_zombie(child)]
    for child in alive:
        child.kill()
    assert not alive


def is_zombie(process: psutil.Process) -> bool:
    """Ended, and nobody asked: the first process of some containers never does."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_oracle_shows_the_whole_path_without_a_model(tmp_path):
    done = run_cli("demo", "--oracle", "--robot", "kuka", "--seed", str(SEED), "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "task done" in done.stdout
    assert "model oracle" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["steps"]
    assert "oracle" in report["planner"]
    wrong = run_cli("demo", "--oracle", "--checkpoint", "nano")
    assert wrong.returncode == 2
    assert "--oracle plans for the simulated scene" in wrong.stderr


def test_processes_that_run_already_are_used_and_left_alone(tmp_path, monkeypatch):
    graph = {"ROS_DOMAIN_ID": str(free_domain()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    for name, value in graph.items():
        monkeypatch.setenv(name, value)
    space = ("-r", "__ns:=/rig")
    with scripted_service(FAMILY, SEED) as server, Children(tmp_path / "logs", graph) as children:
        scene = ("-p", f"family:={FAMILY}", "-p", f"seed:={SEED}")
        children.start("sim", "sim.ros_node", "--ros-args", *space, *scene)
        planner = ("-p", f"server:={server}", "-p", "autostart:=true", "-p", "camera_frozen_after:=0.0")
        children.start("planner", "emu_planner.ros.planner_node", "--ros-args", *space, *planner)
        done = run_cli("demo", "--attach", "--namespace", "rig", "--task", "", "--out", str(tmp_path / "out"))
        children.check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "task done" in done.stdout
    assert not list((tmp_path / "out" / "logs").glob("*.log"))


def test_a_process_that_cannot_start_is_told_with_its_log(tmp_path):
    missing = tmp_path / "no-such-checkpoint"
    done = run_cli("demo", "--out", str(tmp_path / "out"), "--checkpoint", str(missing))
    assert done.returncode == 1
    assert "the service ended with status 2" in done.stderr
    assert "no-such-checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
