"""`emu-planner data`: written, exported, checked; errors in words."""

import shutil

import pytest

from tests.cli.runs import run_cli, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "run"
    done = run_cli("data", "sim", "--out", str(path), "--episodes", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return path


def test_a_run_has_a_card_beside_it(folder):
    assert "| episodes | 3 of 3 seeds" in (folder / "README.md").read_text()


def test_an_export_is_written_and_verified_and_its_damage_is_a_status(folder, tmp_path):
    out = tmp_path / "webp"
    done = run_cli("data", "export", "--data", str(folder), "--format", "webp", "--out", str(out))
    assert done.returncode == 0, done.stderr
    words = ("data", "verify", "--data", str(folder), "--sample", "1", "--workers", "1", "--export", str(out))
    done = run_cli(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 records, 1 made again from their seeds, 1 exports compared: 0 problems" in done.stdout
    frames = out / "shard-00000.frames"
    frames.write_bytes(frames.read_bytes()[:-1])
    done = run_here(*words)
    assert done.returncode == 1
    assert f"PROBLEM {frames} is not as it was written" in done.stdout
    assert "shard-00000, record sort/2" in done.stdout


def test_damage_of_the_run_itself_is_a_status(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    lines = tmp_path / "run" / "shard-00000.jsonl"
    lines.write_text(lines.read_text().replace("block", "blick", 1))
    done = run_here("data", "verify", "--data", str(tmp_path / "run"), "--sample", "0", "--workers", "1")
    assert done.returncode == 1
    assert (
        "PROBLEM shard-00000.jsonl line 1 (shard-00000, record stack/0) is not as it was written"
        in done.stdout
    )


def test_lessons_are_written_and_verified_and_not_exported(tmp_path):
    out = str(tmp_path / "lessons")
    done = run_cli("data", "lessons", "--tasks", "x2i,t2i", "--out", out, "--episodes", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "shard-00000: 4 of 4; 4/4 seeds" in done.stdout
    assert '{"seeds": 4, "written": 4, "dropped": 0}' in done.stdout
    card = (tmp_path / "lessons" / "README.md").read_text()
    assert "4 lessons" in card
    assert "| t2i | 2 | 1.0 |" in card
    done = run_cli("data", "verify", "--data", out, "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 records, 4 made again from their seeds, 0 exports compared: 0 problems" in done.stdout
    done = run_here("data", "export", "--data", out, "--format", "webp", "--out", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "holds lessons; only runs of data sim are exported" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lessons", "--out", "x", "--tasks", "t2i,vla"], "unknown task 'vla'"),
        (["export", "--data", "nowhere", "--format", "webp", "--out", "x"], "nowhere is no folder"),
        (["verify", "--data", "nowhere"], "nowhere is no folder"),
        (["sim", "--out", "x", "--episodes", "2", "--first-seed", "999999999"], "not for training"),
    ],
)
def test_errors_are_told_in_words(words, told):
    done = run_here("data", *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_an_unknown_format_is_told(folder, tmp_path):
    done = run_here("data", "export", "--data", str(folder), "--format", "zip", "--out", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "expected one of ['webp', 'lerobot', 'mcap']" in done.stderr
    assert not (tmp_path / "x").exists()
