"""A run's figures: where they go with TensorBoard, without it, and in processes that say nothing."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from emu_planner.training.log import RunLog


def test_without_tensorboard_a_run_says_so_and_logs_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    log = RunLog(tmp_path)
    log.write(3, {"loss": torch.tensor(0.5)}, force=True)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    row = json.loads((tmp_path / "log.jsonl").read_text())
    assert (row["step"], row["loss"]) == (3, 0.5)
    said = capsys.readouterr().out
    assert "TensorBoard: off" in said
    assert "requirements/tensorboard.txt" in said
    assert "step      3  loss 0.5" in said


def test_with_tensorboard_it_reads_the_same_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="see requirements/tensorboard.txt")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path)
    for step, loss in ((1, 4.0), (20, 2.5)):
        log.write(step, {"loss": loss, "held_out": loss + 1})
    log.close()
    assert f"tensorboard --logdir {tmp_path}" in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 4.0), (20, 2.5)]
    assert [e.value for e in events.Scalars("held_out")] == [5.0, 3.5]


def test_other_processes_of_a_run_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(None)
    log.write(1, {"loss": 1.0}, force=True)
    log.say("hello")
    log.close()
    assert capsys.readouterr().out == ""


def test_a_line_that_a_killed_run_left_unfinished_is_dropped(tmp_path: Path) -> None:
    whole = '{"step": 1, "loss": 2.0}\n'
    for cut in ("", whole):
        (tmp_path / "log.jsonl").write_text(cut + '{"step": 2, "lo')
        log = RunLog(tmp_path)
        log.write(2, {"loss": 1.0})
        log.close()
        rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == ([1, 2] if cut else [2])
