"""A run is checked to the last byte, and each record is made again from its seed."""

import json

import numpy as np
import pytest

from sim import digest
from sim.shard_reader import encode_png
from sim.shards import DamageError, Run, open_run
from sim.verify import verify


def rewrite(run: Run, number: int, change) -> None:
    """Change a line of the first shard; its digests are made anew, as a forger would."""
    shard = run.shards[0]
    texts = shard.texts()
    line = json.loads(texts[number])
    change(line)
    line["sha256"]["record"] = digest.of_record(line)
    texts[number] = json.dumps(line)
    shard.lines_path.write_text("\n".join(texts) + "\n")


def test_a_whole_run_has_no_problems_and_is_made_again(run):
    check = verify(run)
    assert check.problems == ()
    assert check.records == check.again == run.counts["written"]


def test_a_sample_makes_some_again_and_still_reads_all(run):
    lines = []
    check = verify(run, sample=2, workers=2, log=lines.append)
    assert (check.records, check.again, check.problems) == (run.counts["written"], 2, ())
    assert lines[-1] == "2 of 2 records made again"
    assert verify(run, sample=0).again == 0
    with pytest.raises(ValueError, match="sample -1"):
        verify(run, sample=-1)


@pytest.mark.parametrize("name", ["shard-00001.frames", "shard-00001.jsonl"])
def test_any_changed_byte_is_found_and_its_record_named(copied, name):
    path = copied.folder / name
    good = path.read_bytes()
    seeds = [line["seed"] for line in copied.shards[1].lines()]
    chance = np.random.default_rng(3)
    for place in chance.integers(len(good), size=25):
        bad = bytearray(good)
        bad[place] ^= int(chance.integers(1, 256))
        path.write_bytes(bad)
        problems = verify(copied, sample=0).problems
        assert problems, f"byte {place} of {name}"
        assert all(problem.startswith("shard-00001") or "counts.json" in problem for problem in problems)
        if name.endswith("frames"):
            assert any(str(seed) in problems[0] for seed in seeds)


@pytest.mark.parametrize("name", ["shard-00000.frames", "shard-00000.jsonl"])
def test_a_cut_file_is_found(copied, name):
    path = copied.folder / name
    path.write_bytes(path.read_bytes()[:-10])
    assert any("is cut" in problem for problem in verify(copied, sample=0).problems)


def test_bytes_that_no_line_speaks_of_are_found(copied):
    with copied.shards[2].frames_path.open("ab") as file:
        file.write(b"more")
    (problem,) = verify(copied, sample=0).problems
    assert problem.startswith("shard-00002.frames has ")


def test_a_lost_line_is_missed(copied):
    shard = copied.shards[0]
    shard.lines_path.write_text("\n".join(shard.texts()[1:]) + "\n")
    assert any("counts.json says" in problem for problem in verify(copied, sample=0).problems)


def test_a_forged_state_is_found_by_making_the_record_again(copied):
    rewrite(copied, 1, lambda line: line["states"][0]["full"].append("red bowl"))
    assert verify(copied, sample=0).problems == ()
    (problem,) = verify(copied).problems
    assert "shard-00000, record" in problem
    assert "states made again is" in problem


def test_a_forged_picture_is_found_by_making_the_record_again(copied):
    shard = copied.shards[0]
    line = next(shard.lines())
    pictures = shard.pictures(line)
    pictures[1][5, 7] ^= 3
    data = encode_png(pictures[1])
    offset = shard.frames_path.stat().st_size
    with shard.frames_path.open("ab") as file:
        file.write(data)

    def change(line):
        line["frames"][1] = [offset, len(data)]
        line["sha256"]["pictures"][1] = digest.of_picture(pictures[1])

    rewrite(copied, 0, change)
    assert verify(copied, sample=0).problems == ()
    (problem,) = verify(copied).problems
    assert problem.endswith("picture 1 made again differs in 1 pixels, by at most 3 grey levels")


def test_a_run_without_digests_is_still_made_again(copied):
    for shard in copied.shards:
        lines = [json.loads(text) for text in shard.texts()]
        for line in lines:
            del line["sha256"]
        shard.lines_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert verify(copied).problems == ()


def test_digests_may_not_be_left_out_of_some_records(copied):
    shard = copied.shards[0]
    texts = shard.texts()
    line = json.loads(texts[0])
    del line["sha256"]
    shard.lines_path.write_text("\n".join([json.dumps(line), *texts[1:]]) + "\n")
    assert verify(copied, sample=0).problems == (
        f"1 of {run_length(copied)} records lack their SHA-256; expected all or none",
    )


def run_length(run: Run) -> int:
    return run.counts["written"]


def test_a_benchmark_seed_is_not_made_again(copied):
    rewrite(copied, 0, lambda line: line.update(seed=1_000_000_000))
    problems = verify(copied).problems
    assert any("seed is out of order, twice, or not one of 40 to 44" in problem for problem in problems)
    assert any("not for training" in problem for problem in problems)


def test_folders_that_hold_no_finished_run_are_refused(copied, tmp_path):
    with pytest.raises(ValueError, match="no folder; write episodes with"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"it has no run\.json"):
        open_run(tmp_path / "empty")
    counts = copied.folder / "counts.json"
    text = counts.read_text()
    counts.write_text(text.replace("written", "wrotten"))
    with pytest.raises(DamageError, match="expected an object with numbers"):
        open_run(copied.folder)
    counts.unlink()
    with pytest.raises(ValueError, match="is not finished"):
        open_run(copied.folder)
    counts.write_text(text)
    copied.shards[1].lines_path.unlink()
    with pytest.raises(DamageError, match="lacks shard-00001; the same"):
        open_run(copied.folder)


def test_a_lost_last_shard_is_missed(copied):
    copied.shards[-1].lines_path.unlink()
    run = open_run(copied.folder)
    (problem,) = verify(run, sample=0).problems
    assert problem.endswith(f"but counts.json says {copied.counts['written']}")
    with pytest.raises(DamageError, match=r"but counts\.json says"):
        run.check_count()
