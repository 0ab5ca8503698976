"""Checkpoint folders: what is written reads back; what does not fit is named in words."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from emu_planner.model.checkpoint import (
    CheckpointError,
    fingerprint,
    load_transformer,
    load_vision_tokenizer,
    resolve,
    save_transformer,
    save_vision_tokenizer,
)
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.transformer import Transformer, TransformerConfig

CONFIG = TransformerConfig(50, 16, 32, 2, 2, 1, 8, rms_norm_eps=1e-5)


@pytest.fixture(scope="module")
def model():
    model = Transformer(CONFIG)
    model.initialise(0)
    return model


def equal(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.mark.parametrize("shard_bytes", [2**20, 3000])
def test_transformer_reads_back(model, tmp_path, shard_bytes):
    save_transformer(model, tmp_path, shard_bytes=shard_bytes)
    again = load_transformer(tmp_path)
    assert again.config == CONFIG
    assert equal(model, again)
    ids = torch.arange(5)[None]
    assert torch.equal(again(ids), model(ids))


def test_shards_keep_the_limit_and_the_published_names(model, tmp_path):
    save_transformer(model, tmp_path, dtype=torch.bfloat16, shard_bytes=3000)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert [path.name for path in shards][:1] == [f"model-00001-of-{len(shards):05d}.safetensors"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {path.name for path in shards}
    for path in shards:
        tensors = load_file(path)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 3000
        assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert load_transformer(tmp_path, dtype=torch.float32).lm_head.weight.dtype == torch.float32


def test_saving_again_leaves_no_old_shard(model, tmp_path):
    save_transformer(model, tmp_path, shard_bytes=3000)
    save_transformer(model, tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("lm_head.weight"), r"lm_head.weight is missing, expected \[50, 16\]"),
        (lambda t: t.update(extra=torch.zeros(3)), r"extra \[3\] is unexpected"),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(7)}),
            r"model.norm.weight has shape \[7\], expected \[16\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(model, tmp_path, edit, words):
    save_transformer(model, tmp_path)
    change(tmp_path, edit)
    with pytest.raises(CheckpointError, match=words):
        load_transformer(tmp_path)


def test_rotary_tables_of_published_files_are_skipped(model, tmp_path):
    save_transformer(model, tmp_path)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change(tmp_path, lambda tensors: tensors.update({name: torch.zeros(4)}))
    assert equal(model, load_transformer(tmp_path))


def test_missing_and_damaged_files_are_named(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        load_transformer(tmp_path)
    save_transformer(model, tmp_path, shard_bytes=3000)
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_transformer(tmp_path)
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"lacks {shard.name}"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 50}')
    with pytest.raises(CheckpointError, match="missing"):
        load_transformer(tmp_path)


def test_vision_tokenizer_reads_back_also_alone_and_from_the_published_config(tmp_path):
    config = VisionConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, z_channels=32, embed_dim=8, n_embed=16)
    model = VisionTokenizer(config)
    save_vision_tokenizer(model, tmp_path)
    again = load_vision_tokenizer(tmp_path)
    assert again.config == config
    assert equal(model, again)
    published = {
        "n_embed": 16,
        "embed_dim": 8,
        "ddconfig": {
            "ch": 32,
            "ch_mult": [1, 2],
            "num_res_blocks": 1,
            "z_channels": 32,
            "resolution": 8,
            "attn_resolutions": [4],
            "dropout": 0.0,
        },
    }
    alone = tmp_path / "vision_tokenizer"
    (alone / "config.json").write_text(json.dumps(published))
    assert load_vision_tokenizer(alone).config == config


_PEAK = """
import sys
from pathlib import Path

from emu_planner.model.checkpoint import load_transformer

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))

load_transformer(sys.argv[1])  # what is imported and taken once
before = memory("VmRSS")
model = load_transformer(sys.argv[2])
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_model_is_never_in_memory_twice(model, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    save_transformer(model, small)
    config = TransformerConfig(20000, 512, 2560, 6, 8, 2, 64)
    save_transformer(Transformer(config).to(torch.bfloat16), large, shard_bytes=30_000_000)
    size = sum(path.stat().st_size for path in large.glob("*.safetensors"))
    assert size > 90_000_000
    words = [sys.executable, "-c", _PEAK, str(small), str(large)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert 0.9 * size < int(done.stdout) < 1.1 * size


def test_a_folder_without_a_vision_tokenizer_says_so(model, tmp_path):
    save_transformer(model, tmp_path)
    with pytest.raises(CheckpointError, match="has no vision_tokenizer/"):
        load_vision_tokenizer(tmp_path)


def test_a_fingerprint_tells_checkpoints_apart(model, tmp_path):
    save_transformer(model, tmp_path)
    first = fingerprint(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", first)
    save_transformer(model, tmp_path)
    assert fingerprint(str(tmp_path)) == first
    # each thing that it covers
    (tmp_path / "planner.json").write_text("{}")
    seen = [first, fingerprint(tmp_path)]
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + " ")
    seen.append(fingerprint(tmp_path))
    save_transformer(model, tmp_path, shard_bytes=3000)
    seen.append(fingerprint(tmp_path))
    other = Transformer(CONFIG)
    other.initialise(1)
    save_transformer(other, tmp_path, shard_bytes=3000)
    seen.append(fingerprint(tmp_path))
    save_transformer(other, tmp_path, shard_bytes=3000, dtype=torch.bfloat16)
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == len(seen)
    with pytest.raises(CheckpointError, match="lacks model.safetensors"):
        fingerprint(tmp_path / "nothing")


def test_resolve(tmp_path):
    assert resolve(tmp_path) == tmp_path
    with pytest.raises(CheckpointError, match="neither one of"):
        resolve("no-such-checkpoint")


def test_an_offline_download_says_so(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_args, **_kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"cannot download 'nobody/nothing'.*network"):
        resolve("nobody/nothing")
