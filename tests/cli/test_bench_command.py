"""`emu-planner bench` as a user sees it: tables without a model's luck, and errors in words."""

import json

import pytest

from tests.cli.runs import run_cli
from tests.cli.test_serve_command import checkpoint  # noqa: F401 - fixture
from tests.engine.conftest import _one_thread, frames, parts  # noqa: F401 - fixtures


def test_wrong_arguments_are_told_before_any_process_starts(tmp_path):
    for words, told in (
        (["nowhere"], "no suite 'nowhere'"),
        (["quick", "--planners", "oracle,luck"], "unknown planners"),
        (["quick", "--checkpoint", str(tmp_path / "nothing")], "no checkpoint"),
    ):
        done = run_cli("bench", *words, "--out", str(tmp_path / "out"))
        assert done.returncode == 2
        assert told in " ".join(done.stdout.split())
        assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_suite_gives_rows_and_tables(checkpoint, tmp_path):  # noqa: F811
    words = ("quick", "--planners", "oracle,copy-last-frame", "--scenes", "1", "--workers", "1")
    done = run_cli("bench", *words, "--checkpoint", checkpoint, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "quick-tiny.jsonl").read_text().splitlines()
    jobs = {row["job"]: row["rows"] for row in map(json.loads, lines)}
    assert {name.rpartition(" ")[0] for name in jobs} == {"oracle", "copy-last-frame", "tokenizer ceiling"}
    oracle = next(rows for name, rows in jobs.items() if name.startswith("oracle"))
    assert oracle[0]["open_loop_success"]
    assert "100.0% (1/1" in done.stdout


def test_a_service_that_ends_is_told_with_its_log(tmp_path):
    missing = str(tmp_path / "no-such-checkpoint")
    done = run_cli("bench", "latency", "--checkpoint", missing, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "the service ended with status 2" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr
