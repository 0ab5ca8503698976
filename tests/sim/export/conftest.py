"""A small finished run, in three shards, simulated once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest

from sim import data, shard_writer
from sim.shards import Run, open_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five episodes in three shards. Read only."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "SHARD_SEEDS", 2)
        data.write(folder, episodes=5, first_seed=40)
        return open_run(folder)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """A copy that a test may damage."""
    shutil.copytree(run.folder, tmp_path / "copy")
    return open_run(tmp_path / "copy")
