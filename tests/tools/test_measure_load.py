"""tools/measure_load.py writes a model in the published layout and measures both ways of loading it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emu_planner.model.blank import blank
from emu_planner.model.checkpoint import fingerprint, load_transformer, stored_bytes
from emu_planner.model.transformer import Transformer
from tools import measure_load

ROOT = Path(__file__).parents[2]


def test_the_full_size_is_the_published_one():
    with blank():
        model = Transformer(measure_load.config_of(5120, 64))
    assert sum(parameter.numel() for parameter in model.parameters()) == 34_103_460_864


def test_what_it_writes_loads(tmp_path):
    config = measure_load.config_of(128, 2, 500)
    size = measure_load.write_model(tmp_path, config, 300_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert stored_bytes(tmp_path) == size
    assert load_transformer(tmp_path).config == config
    naive = measure_load.load_naively(tmp_path, "cpu")
    assert naive.config == config


def test_a_folder_is_written_once_and_kept(tmp_path):
    config = measure_load.config_of(128, 1, 500)
    assert measure_load.prepare(tmp_path / "new", config, 300_000)
    before = fingerprint(tmp_path / "new")
    assert not measure_load.prepare(tmp_path / "new", config, 300_000)
    assert fingerprint(tmp_path / "new") == before
    with pytest.raises(SystemExit, match="another folder"):
        measure_load.prepare(tmp_path / "new", measure_load.config_of(128, 2, 500), 300_000)


def test_the_same_numbers_whatever_the_threads(tmp_path, monkeypatch):
    weights = []
    for cores in (1, 5):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        folder = tmp_path / str(cores)
        folder.mkdir()
        measure_load.write_model(folder, measure_load.config_of(128, 2, 500), 10**9)
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_it_prints_both_ways_and_leaves_nothing(tmp_path):
    words = ("--hidden", "128", "--layers", "2", "--vocabulary", "500", "--repeats", "1")
    done = subprocess.run(
        [sys.executable, "tools/measure_load.py", *words], capture_output=True, text=True, check=False,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("ours", "naive", "naive / ours", "1 runs each on cpu"):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())
