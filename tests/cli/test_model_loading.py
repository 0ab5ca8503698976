"""Which devices and folders the arguments mean; what one sees while a model is read."""

import argparse
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from emu_planner.cli.model import (
    add_model_arguments,
    are_recorded,
    choose_devices,
    find_devices,
    join_others,
    load_planner,
    loading_bar,
)
from emu_planner.engine import planner
from emu_planner.engine.decoders import PlainDecoder
from emu_planner.engine.graphs import DeviceDecoder
from emu_planner.model.checkpoint import CheckpointError, load_transformer, stored_bytes
from emu_planner.model.spread import GPU_SHARE
from tests.cli.runs import run_here
from tests.cli.test_serve_command import (  # noqa: F401 - fixtures
    INSTRUCTION,
    SUBGOALS,
    _one_thread,
    checkpoint,
    frames,
    images,
    parts,
)


def unasked():
    raise AssertionError("the size of the model does not matter here")


@pytest.mark.parametrize(
    ("asked", "free", "devices"),
    [
        ("auto", [], ["cpu"]),
        ("auto", [80], ["cuda"]),
        ("cpu", [80, 80], ["cpu"]),
        ("cuda:1", [80, 80], ["cuda:1"]),
        ("cuda:0,cuda:1,cpu", [80, 80], ["cuda:0", "cuda:1", "cpu"]),
    ],
)
def test_devices(asked, free, devices):
    assert choose_devices(asked, free, unasked) == devices


@pytest.mark.parametrize(
    ("launched", "words", "more"),
    [
        ({}, "--share tensor: this process is alone; start several with torchrun", {"share": "tensor"}),
        ({"WORLD_SIZE": "2"}, "2 plans at once.*--max-plans 1", {"plans": 2}),
        ({"WORLD_SIZE": "2"}, "--graphs: passes of --share guidance", {"share": "guidance", "graphs": True}),
        ({"WORLD_SIZE": "2"}, "each of torchrun's processes takes a GPU of its own", {"device": "cuda:1"}),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, LOCAL_RANK, .*start several", {}),
    ],
)
def test_what_does_not_go_with_several_processes_is_told_before_they_meet(monkeypatch, launched, words, more):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CheckpointError, match=words):
        join_others(**{"device": "cpu", "share": None, "graphs": False} | more)


def test_auto_takes_all_gpus_for_a_model_that_does_not_fit_one():
    assert choose_devices("auto", [100, 50], lambda: 79) == ["cuda"]
    assert choose_devices("auto", [100, 50], lambda: 81) == ["cuda:0", "cuda:1"]


def test_auto_takes_one_gpu_for_a_model_that_fits_it_with_8_bits(checkpoint, monkeypatch):  # noqa: F811
    free = int(0.7 * stored_bytes(checkpoint) / GPU_SHARE)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free, free))
    assert find_devices("auto", checkpoint, fp8=False) == ["cuda:0", "cuda:1"]
    assert find_devices("auto", checkpoint, fp8=True) == ["cuda"]
    loaded = load_transformer(checkpoint, fp8=True)
    size = sum(tensor.nbytes for name, tensor in loaded.state_dict().items() if not name.endswith(".scale"))
    assert stored_bytes(checkpoint, fp8=True) == size


def test_the_share_of_a_gpu_is_the_one_that_loading_keeps_to(monkeypatch):
    monkeypatch.setattr("emu_planner.model.spread.GPU_SHARE", 0.5)
    assert choose_devices("auto", [100, 50], lambda: 51) == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("asked", "free", "words"),
    [
        ("cuda", [], "torch finds no GPU; use --device cpu"),
        ("cuda:0,cuda:2", [80, 80], "cuda:2 is not there: torch finds 2"),
        ("gpu", [80], "there is no device 'gpu'"),
    ],
)
def test_a_device_that_is_not_there_is_named(asked, free, words):
    with pytest.raises(CheckpointError, match=words):
        choose_devices(asked, free, unasked)


def test_a_bar_over_bytes_is_shown_to_people_only():
    for terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=100)
        with loading_bar(console) as progress:
            progress(3_000_000, 4_000_000)
            progress(4_000_000, 4_000_000)
            progress(34_000_000_000, 68_000_000_000)
        assert ("34.0/68.0 GB" in text.getvalue()) == terminal
    assert not text.getvalue()


@pytest.mark.parametrize(("words", "graphs"), [((), False), (("--graphs",), True)])
def test_passes_are_recorded_where_that_is_asked_for(checkpoint, monkeypatch, words, graphs):  # noqa: F811
    asked, choose = [], planner.decoder_of
    monkeypatch.setattr(
        planner, "decoder_of", lambda *given, **more: asked.append(more) or choose(*given, **more)
    )
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    loaded, device = load_planner(parser.parse_args(["--checkpoint", checkpoint, "--device", "cpu", *words]))
    assert (asked, device) == ([{"graphs": graphs}], "cpu")
    assert isinstance(loaded._decoder, DeviceDecoder if graphs else PlainDecoder)


@pytest.mark.parametrize(
    ("asked", "devices", "proven", "recorded"),
    [
        (None, ["cuda"], True, True),
        (None, ["cuda:1"], True, True),
        (None, ["cpu"], True, False),
        (None, ["cuda:0", "cuda:1"], True, False),
        (None, ["cuda"], False, False),
        (True, ["cpu"], False, True),
        (False, ["cuda"], True, False),
    ],
)
def test_one_gpu_has_recorded_passes_unless_told_otherwise(asked, devices, proven, recorded):
    assert are_recorded(devices, asked=asked, proven=proven) is recorded


def plan(images, tmp_path, *words):  # noqa: F811
    words = ("--task", INSTRUCTION, "--seed", "1", "--out", str(tmp_path / "out"), "--device", "cpu", *words)
    return run_here("plan", *words, *images)


def test_each_tokenizer_may_lie_elsewhere(checkpoint, images, tmp_path):  # noqa: F811
    vision, texts = tmp_path / "VisionTokenizer", tmp_path / "tokenizer_emu3_ibq"
    (Path(checkpoint) / "vision_tokenizer").rename(vision)
    texts.mkdir()
    for name in ("emu3.tiktoken", "emu3_vision_tokens.txt"):
        (Path(checkpoint) / name).rename(texts / name)
    words = ("--checkpoint", checkpoint, "--device", "cpu,cpu")
    for more, told in (
        ((), "baaivision/Emu3.5"),
        (("--tokenizer", str(texts)), "BAAI/Emu3.5-VisionTokenizer"),
    ):
        done = plan(images, tmp_path, *words, *more)
        assert done.returncode == 2
        assert told in done.stderr
    done = plan(images, tmp_path, *words, "--tokenizer", str(texts), "--vision", str(vision))
    assert done.returncode == 0, done.stderr
    assert tuple(json.loads(line)["subgoal"] for line in done.stdout.splitlines()) == SUBGOALS
    assert "reading" not in done.stderr


def test_a_damaged_checkpoint_is_told_in_words(checkpoint, images, tmp_path):  # noqa: F811
    path = Path(checkpoint) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = plan(images, tmp_path, "--checkpoint", checkpoint)
    assert done.returncode == 2
    assert f"{path} is truncated" in done.stderr
