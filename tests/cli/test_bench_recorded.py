"""`emu-planner bench recorded`: from files to a table and a JSON file."""

import json

import cv2
import pytest

from sim.oracle import next_skill
from sim.shards import views_of
from sim.world import World
from tests.cli.runs import run_cli, run_here


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A recording of the front view, larger than a keyframe, and a perfect plan's keyframes of both views."""
    root = tmp_path_factory.mktemp("recorded")
    (root / "frames").mkdir()
    (root / "plan").mkdir()
    with World() as world:
        world.reset("stack", 4)
        pictures = [world.picture()]
        while (skill := next_skill(world.scene.goal, world.state())) is not None:
            world.execute(skill)
            pictures.append(world.picture())
    for number, picture in enumerate(pictures):
        front = cv2.resize(views_of(picture)["front"], (384, 384), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "frames" / f"{number:03d}.png"), front[:, :, ::-1])
    for number, picture in enumerate(pictures[1:]):
        cv2.imwrite(str(root / "plan" / f"step-{number + 1:02d}-keyframe.png"), picture[:, :, ::-1])
    return root


def test_a_perfect_plan_is_near_the_recording_and_a_copy_is_not(folders):
    file = folders / "out" / "figures.json"
    words = ("--keyframes", str(folders / "plan"), "--view", "front", "--json", str(file))
    done = run_cli("bench", "recorded", "--frames", str(folders / "frames"), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "copy of the first picture" in done.stdout
    said = json.loads(file.read_text())
    plan, copy = said["results"]["the plan"], said["results"]["copy of the first picture"]
    assert plan["in_order"]
    assert [step["nearest_frame"] for step in plan["steps"]] == list(range(1, len(plan["steps"]) + 1))
    for step, same in zip(plan["steps"], copy["steps"], strict=True):
        assert step["nearest_error"] < step["nearest_copy_error"] / 4
        assert same["changed_share"] < step["changed_share"]


def test_a_view_must_be_named_when_the_shapes_differ(folders):
    words = ("--frames", str(folders / "frames"), "--keyframes", str(folders / "plan"))
    done = run_here("bench", "recorded", *words)
    assert done.returncode == 2
    assert "--view" in done.stdout + done.stderr
    done = run_here("bench", "recorded", "--frames", str(folders / "frames"))
    assert done.returncode == 2
    assert "--keyframes" in done.stdout + done.stderr
