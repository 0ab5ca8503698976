"""Lessons survive the disk and a kill, are the same in every process, and never the benchmark's."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim import lessons, shard_writer
from sim.data import EpisodeReader
from sim.lessons import data
from sim.lessons.data import LessonReader, open_reader
from sim.scene import BENCHMARK_FIRST_SEED
from sim.shards import open_run
from sim.verify import verify
from sim.world import World

FAST = "t2i,x2i,howto"
SCRIPT = """
import sys
from sim import shard_writer
from sim.lessons import data
if __name__ == "__main__":
    shard_writer.SHARD_SEEDS = 3
    data.write(sys.argv[1], episodes=9, tasks=sys.argv[2], first_seed=6, workers=int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lessons")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "SHARD_SEEDS", 3)
        counts = data.write(path, episodes=9, tasks=FAST, first_seed=6)
    assert counts == {"seeds": 9, "written": 9, "dropped": 0}
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def start(tmp_path: Path, workers: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "out"), FAST, str(workers)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3])


def test_lessons_read_back_as_they_were_made(folder: Path, world: World) -> None:
    reader = LessonReader(folder)
    records = list(reader)
    assert [(record.seed, record.task) for record in records[:4]] == [
        (6, "t2i"), (7, "x2i"), (8, "howto"), (9, "t2i"),
    ]  # fmt: skip
    for record in records[:4]:
        made = lessons.make(world, record.task, record.seed)
        for name in ("robot", "instruction", "references", "parts", "truths"):
            assert getattr(record, name) == getattr(made, name)
        assert record.asked == json.loads(json.dumps(dict(made.asked)))
        for index, picture in enumerate(made.pictures):
            assert np.array_equal(reader.frame(record, index), picture)


@pytest.mark.slow
def test_processes_agree_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    assert start(tmp_path, workers=2).wait(timeout=100) == 0
    assert contents(tmp_path / "out") == contents(folder)


@pytest.mark.slow
def test_a_writer_that_was_killed_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(tmp_path, workers=1)
    while not (out / "shard-00000.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not LessonReader(out).finished
    assert "shard-00002" not in LessonReader(out).shards()
    whole = (out / "shard-00000.jsonl").stat().st_mtime_ns
    assert start(tmp_path, workers=1).wait(timeout=100) == 0
    assert (out / "shard-00000.jsonl").stat().st_mtime_ns == whole
    finished = {name: content for name, content in contents(out).items() if not name.endswith(".tmp")}
    assert finished == contents(folder)
    assert LessonReader(out).finished


def test_every_record_is_made_again_and_damage_is_named(folder: Path, tmp_path: Path) -> None:
    check = verify(open_run(folder), sample=3)
    assert (check.records, check.again, check.problems) == (9, 3, ())
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "shard-00001.jsonl"
    line = json.loads(path.read_text().splitlines()[0])
    path.write_text(path.read_text().replace(line["instruction"], "a red block", 1))
    problems = verify(open_run(tmp_path / "copy"), sample=0).problems
    assert any("shard-00001, record t2i/9" in text and "not as it was written" in text for text in problems)


def test_a_lesson_that_the_simulator_would_not_make_is_found(folder: Path, tmp_path: Path) -> None:
    """Whole by its digest, but not what the seed gives."""
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "shard-00001.jsonl"
    lines = path.read_text().splitlines()
    line = json.loads(lines[0])
    line["instruction"] = "a red block"
    line["sha256"]["record"] = data.digest.of_record(line)
    path.write_text("\n".join([json.dumps(line), *lines[1:]]) + "\n")
    problems = verify(open_run(tmp_path / "copy")).problems
    assert any("instruction made again" in problem for problem in problems)


def test_another_run_and_the_benchmarks_seeds_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds the run"):
        data.write(folder, episodes=9, tasks="story", first_seed=6)
    with pytest.raises(ValueError, match="not for training"):
        data.write(tmp_path / "no", episodes=2, first_seed=BENCHMARK_FIRST_SEED - 1)
    with pytest.raises(ValueError, match="unknown task"):
        data.write(tmp_path / "no", episodes=2, tasks="vla")
    assert not (tmp_path / "no").exists()


def test_a_folder_opens_as_what_it_is(folder: Path, tmp_path: Path) -> None:
    assert isinstance(open_reader(folder), LessonReader)
    assert isinstance(open_reader(tmp_path), EpisodeReader)
    with pytest.raises(ValueError, match="data lessons"):
        LessonReader(tmp_path / "nowhere")
