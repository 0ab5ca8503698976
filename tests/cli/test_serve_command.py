"""`emu-planner serve` and `plan` with a real, tiny checkpoint: by themselves and together."""

import json
import signal
import threading

import pytest

from emu_planner.cli.pictures import write_picture
from emu_planner.cli.serve import _version
from emu_planner.model.checkpoint import fingerprint, save_transformer, save_vision_tokenizer
from emu_planner.model.text import train_bpe, write_folder
from emu_planner.plan import Generation, Task, collect
from emu_planner.wire.client import RemotePlanner
from tests.cli.runs import run_cli, start_cli
from tests.engine.conftest import (  # noqa: F401 - fixtures
    CONFIG,
    INSTRUCTION,
    SUBGOALS,
    _one_thread,
    frames,
    parts,
)


@pytest.fixture
def checkpoint(parts, tmp_path):  # noqa: F811
    model, vision, tokenizer = parts
    folder = tmp_path / "tiny"
    save_transformer(model, folder)
    save_vision_tokenizer(vision, folder)
    write_folder(folder, train_bpe([INSTRUCTION, *SUBGOALS] * 3, 30), tokenizer.vocabulary.codes)
    CONFIG.save(folder)
    return str(folder)


@pytest.fixture
def images(frames, tmp_path):  # noqa: F811
    words = []
    for frame in frames.observation.frames:
        path = tmp_path / f"{frame.camera}.png"
        write_picture(path, frame.rgb)
        words += ["--image", str(path)]
    return words


def subgoals(done):
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(line)["subgoal"] for line in done.stdout.splitlines())


def test_a_service_plans_as_its_checkpoint_does_until_it_is_told_to_stop(checkpoint, images, tmp_path):
    task = ("plan", "--task", INSTRUCTION, "--seed", "1", "--out", str(tmp_path / "out"), *images)
    model = ("--checkpoint", checkpoint, "--device", "cpu", "--threads", "1")
    assert subgoals(run_cli(*task, *model)) == SUBGOALS
    service = start_cli("serve", "--port", "0", *model)
    with service:
        assert service.stdout is not None
        assert service.stderr is not None
        address = service.stderr.readline().split("listening on ")[1].strip()
        assert service.stdout.readline().startswith(f"ready: {checkpoint} on cpu")
        assert subgoals(run_cli(*task, "--server", address)) == SUBGOALS
        with RemotePlanner(address) as client:
            assert client.wait_ready(30.0).model_version == fingerprint(checkpoint)
        service.send_signal(signal.SIGTERM)
        rest = service.communicate(timeout=30.0)[1]
    assert service.returncode == 0
    assert "draining" in rest
    assert "stopped" in rest


def test_several_robots_plan_at_once_on_one_model(checkpoint, frames):  # noqa: F811
    service = start_cli(
        "serve", "--port", "0", "--max-plans", "3", "--checkpoint", checkpoint, "--device", "cpu"
    )
    reports = {}
    with service:
        assert service.stdout is not None
        assert service.stderr is not None
        address = service.stderr.readline().split("listening on ")[1].strip()
        assert service.stdout.readline().startswith("ready")

        def work(robot):
            with RemotePlanner(address) as planner:
                task = Task(INSTRUCTION, Generation(seed=robot))
                reports[robot] = [collect(INSTRUCTION, planner.plan(task, frames)) for _ in range(2)]

        robots = [threading.Thread(target=work, args=(robot,)) for robot in range(5)]
        for robot in robots:
            robot.start()
        for robot in robots:
            robot.join()
        service.send_signal(signal.SIGTERM)
        rest = service.communicate(timeout=30.0)[1]
    assert service.returncode == 0
    assert "stopped" in rest
    for made in reports.values():
        assert [tuple(step.subgoal for step in report.steps) for report in made] == [SUBGOALS] * 2
        assert made[1].timing.cached_tokens > 0
    assert len(reports) == 5


def test_plans_that_memory_has_no_room_for_are_refused_with_words(checkpoint):
    done = run_cli(
        "serve", "--max-plans", "100000000", "--checkpoint", checkpoint, "--device", "cpu", "--port", "0"
    )
    assert done.returncode == 2
    assert "100000000 plans at once" in done.stderr
    assert "allow fewer plans at once" in done.stderr


def test_a_checkpoint_of_the_hub_and_a_broken_one_have_no_version_yet(checkpoint, tmp_path):
    assert _version(checkpoint) == fingerprint(checkpoint)
    assert _version("OWNER/NAME") == ""
    assert _version(str(tmp_path)) == ""
