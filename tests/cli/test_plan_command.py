"""`emu-planner plan --server` against a service over a real socket."""

import json

import pytest

from emu_planner.cli.pictures import read_picture, write_picture
from emu_planner.plan import ErrorCode, PlanError
from emu_planner.service.server import running_service
from tests.cli.runs import run_cli, run_here
from tests.fakes import VIEW_PX, FakePlanner, fake_observation


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for frame in fake_observation().frames:
        paths.append(tmp_path / f"{frame.camera}.png")
        write_picture(paths[-1], frame.rgb)
    return [str(path) for path in paths]


def plan(server, images, out, *words, run=run_cli):
    named = [word for image in images for word in ("--image", image)]
    return run("plan", "--task", "tidy up", "--server", server, "--out", str(out), *named, *words)


def test_steps_come_as_json_lines_and_keyframes_as_files(tmp_path, pictures):
    with running_service(FakePlanner) as target:
        done = plan(target, pictures, tmp_path / "out", "--seed", "5")
        again = plan(target, pictures, tmp_path / "again", "--seed", "5", "--max-subgoals", "2")
        other = plan(target, pictures, tmp_path / "other", "--seed", "6", "--no-keyframes")
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["index"] for step in steps] == [0, 1, 2]
    assert len({step["subgoal"] for step in steps}) == 3
    for step in steps:
        assert 0 <= step["confidence"] <= 1
        assert step["timing"]["generated_tokens"] > 0
        assert read_picture(step["keyframe"]).shape == (VIEW_PX, 2 * VIEW_PX, 3)
    assert "finished (stop)" in done.stderr
    # same seed: the same beginning; another seed: another plan
    same = [json.loads(line)["subgoal"] for line in again.stdout.splitlines()]
    assert same == [step["subgoal"] for step in steps[:2]]
    others = [json.loads(line) for line in other.stdout.splitlines()]
    assert others[0]["subgoal"] != steps[0]["subgoal"]
    assert [step["keyframe"] for step in others] == [None] * 3


def test_wrong_input_is_told_in_words(tmp_path, pictures):
    bad = tmp_path / "bad.png"
    bad.write_text("this is no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    for images, words, told in (
        ([str(bad)], (), "bad.png cannot be read as a picture"),
        ([str(empty)], (), "empty.png cannot be read as a picture"),
        (["nowhere.png"], (), "there is no file nowhere.png"),
        (pictures * 2, (), "4 pictures; expected at most 2"),
        (pictures, ("--seed", "-1"), "seed is -1"),
        (pictures, ("--task", " "), "the instruction is empty"),
    ):
        done = plan("127.0.0.1:1", images, tmp_path / "out", *words, run=run_here)
        assert done.returncode == 2
        assert told in done.stderr
        assert not done.stdout


def test_a_missing_or_failing_service_ends_with_3(tmp_path, pictures):
    done = plan("127.0.0.1:1", pictures, tmp_path)
    assert done.returncode == 3
    assert "no planner service answers at 127.0.0.1:1" in done.stderr
    failing = FakePlanner(fail_at=1, error=PlanError(ErrorCode.INVALID_OUTPUT, "nonsense came out"))
    with running_service(lambda: failing) as target:
        done = plan(target, pictures, tmp_path)
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 1
    assert "nonsense came out" in done.stderr
