"""A run beside a writer: shards join as they appear, what is held out is never drawn."""

import shutil
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from emu_planner.cli import train_pools
from emu_planner.training.coding import Coders, CodersError
from emu_planner.training.frames import FramePool
from emu_planner.training.stream import EpisodePool, code_shard, codes_path, is_held_out
from sim import data
from sim.data import EpisodeReader

pytestmark = pytest.mark.slow

# seeds 8 and 11 are held out
SEEDS = 12


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    data.write(folder, episodes=SEEDS)
    return folder


@pytest.fixture
def growing(written: Path, tmp_path: Path) -> Path:
    """A folder in which one shard is finished and the writer is not."""
    folder = tmp_path / "growing"
    folder.mkdir()
    add_shard(written, folder, 0)
    return folder


def add_shard(source: Path, folder: Path, index: int) -> None:
    """The pictures first, then the records: as the writer does."""
    for ending in ("frames", "jsonl"):
        shutil.copy(source / f"shard-00000.{ending}", folder / f"shard-{index:05d}.{ending}")


def finish(folder: Path) -> None:
    (folder / "counts.json").write_text("{}")


def corner_codes(frames: Tensor) -> np.ndarray:
    """Stand-in for a vision tokenizer: a code that the picture determines."""
    return frames[:, :1, :1].sum(dim=3).numpy().astype(np.uint16)


def test_new_shards_join_the_round(written: Path, growing: Path, tmp_path: Path) -> None:
    pool = EpisodePool(EpisodeReader(growing), corner_codes, codes=tmp_path / "codes")
    pool.wait(5)
    first = len(pool)
    assert 5 <= first < SEEDS
    add_shard(written, growing, 1)
    finish(growing)
    pool.wait(2 * first)
    pool.close()
    assert len(pool) == 2 * first
    drawn = [pool.draw() for _ in range(2 * first)]
    assert {id(episode) for episode in drawn} == {id(episode) for episode in pool.episodes()}


def test_the_first_episodes_alone_are_learned_from(written: Path, growing: Path, tmp_path: Path) -> None:
    add_shard(written, growing, 1)
    finish(growing)
    whole, few = (
        EpisodePool(EpisodeReader(growing), corner_codes, codes=tmp_path / "codes", most=most)
        for most in (None, 3)
    )
    for pool in (whole, few):
        pool.wait(1000)
        pool.close()
    assert [e.instruction for e in few.episodes()] == [e.instruction for e in whole.episodes()[:3]]
    assert len(few.held_out) == len(whole.held_out) == 4


def test_what_is_held_out_is_never_drawn(growing: Path, tmp_path: Path) -> None:
    finish(growing)
    pool = EpisodePool(EpisodeReader(growing), corner_codes, codes=tmp_path / "codes")
    pool.wait(1000)
    pool.close()
    kept = [r.instruction for r in EpisodeReader(growing) if is_held_out(r.seed)]
    assert kept
    assert [episode.instruction for episode in pool.held_out] == kept
    assert not {pool.draw().instruction for _ in range(3 * len(pool))} & set(kept)


def test_codes_are_made_once(growing: Path, tmp_path: Path) -> None:
    finish(growing)
    calls = []

    def encode(frames: Tensor) -> np.ndarray:
        calls.append(len(frames))
        return corner_codes(frames)

    for _ in range(2):
        pool = EpisodePool(EpisodeReader(growing), encode, codes=tmp_path / "codes")
        pool.wait(1000)
        pool.close()
    assert len(calls) == 1


def test_shards_wait_for_the_codes_of_others(growing: Path, tmp_path: Path) -> None:
    finish(growing)
    reader = EpisodeReader(growing)
    pool = EpisodePool(reader, None, codes=tmp_path)
    time.sleep(0.1)
    assert len(pool) == 0
    code_shard(reader, reader.records("shard-00000"), corner_codes, tmp_path)
    pool.wait(5)
    assert len(pool) >= 5
    pool.close()
    np.save(codes_path(tmp_path, "shard-00000"), np.zeros((3, 1, 1), np.uint16))
    with pytest.raises(ValueError, match="take another --codes"):
        EpisodePool(reader, None, codes=tmp_path).wait(5)


def test_coders_that_end_are_noticed(growing: Path, tmp_path: Path) -> None:
    finish(growing)
    with Coders(growing, tmp_path, tmp_path / "codes", ["cpu"]) as coders:  # there is no tokenizer
        pool = EpisodePool(EpisodeReader(growing), None, codes=tmp_path / "codes", check=coders.check)
        with pytest.raises(CodersError, match="--coders"):
            pool.wait(5)
        pool.close()


def test_an_error_in_the_thread_reaches_the_run(growing: Path, tmp_path: Path) -> None:
    (growing / "shard-00000.frames").write_bytes(b"no pictures")
    pool = EpisodePool(EpisodeReader(growing), corner_codes, codes=tmp_path / "codes")
    with pytest.raises(ValueError, match="damaged"):
        pool.wait(5)


def test_too_little_is_said_in_words(tmp_path: Path) -> None:
    finish(tmp_path)
    pool = EpisodePool(EpisodeReader(tmp_path), corner_codes, codes=tmp_path / "codes")
    with pytest.raises(ValueError, match="write more"):
        pool.wait(5)
    with pytest.raises(ValueError, match="no episode of at most 3 pictures"):
        FramePool(EpisodeReader(tmp_path), limit=3, device=torch.device("cpu")).wait(3)


def test_pictures_come_in_pairs_a_step_apart(written: Path, growing: Path) -> None:
    finish(growing)
    reader = EpisodeReader(growing)
    records = list(reader)
    limit = sum(len(record.frames) for record in records) - 1
    pool = FramePool(reader, limit=limit, device=torch.device("cpu"))
    pool.wait(limit)
    # the last episode does not fit
    assert len(pool) == limit + 1 - len(records[-1].frames)
    followed = {
        (reader.frame(record, index).tobytes(), reader.frame(record, index + 1).tobytes())
        for record in records
        for index in range(len(record.frames) - 1)
    }
    drawn = pool.draw(16, torch.Generator().manual_seed(0)).numpy()
    for before, after in zip(drawn[:16], drawn[16:], strict=True):
        assert (before.tobytes(), after.tobytes()) in followed
    pool.close()


@pytest.mark.parametrize("coders", ["elsewhere", "elsewhere,cpu"])
def test_a_run_that_does_not_code_names_the_codes_of_one_that_does(
    growing: Path, tmp_path: Path, coders: str
) -> None:
    codes = None if coders == "elsewhere" else tmp_path / "codes"
    args = Namespace(
        data=growing, out=tmp_path, codes=codes, coders=coders, seed=0, start_with=1, episodes=None
    )
    with (
        pytest.raises(ValueError, match="stands alone"),
        train_pools.episodes(args, tmp_path, None, codes_here=True),
    ):
        pass


def test_codes_that_never_come_are_told_as_that(
    growing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu_planner.training.frames._PATIENCE_S", 0.2)
    pool = EpisodePool(EpisodeReader(growing), None, codes=tmp_path / "codes")
    with pytest.raises(ValueError, match="is the run that codes under way"):
        pool.wait(1)
    pool.close()
