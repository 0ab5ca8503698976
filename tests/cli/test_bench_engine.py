"""`emu-planner bench engine` at toy size on a CPU: what it prints belongs together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emu_planner.cli.bench_engine_model import random_model, size_of
from emu_planner.cli.main import main
from emu_planner.model.checkpoint import resolve
from emu_planner.model.config_files import read_transformer_config

_TOY = ("--config", "64x1", "--device", "cpu", "--context", "32", "--pixels", "32", "--steps", "4")


@pytest.mark.parametrize("decoder", ["raster", "plain", "jacobi"])
def test_figures_of_one_run_belong_together(
    decoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    words = ("--decoder", decoder, "--sessions", "1,2", "--dtype", "float32", "--json", str(out))
    assert main(["bench", "engine", *_TOY, *words]) == 0
    found = json.loads(out.read_text())
    assert found["tokens/s, 1 session"] == pytest.approx(1e3 / found["ms/token"])
    assert found["share of the ceiling"] == pytest.approx(found["ceiling, ms/token"] / found["ms/token"])
    assert found["tokens/s, 2 sessions"] > 0
    assert found["keyframe of 32 px, s"] > 0
    ratio = found["transformers, ms/token"] / found["ms/token"]
    assert found["times transformers"] == pytest.approx(ratio)
    assert "share of the ceiling" in capsys.readouterr().out


def test_two_decoders_are_measured_in_one_run(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    words = ("--against", "plain", "--dtype", "float32", "--no-transformers", "--json", str(out))
    assert main(["bench", "engine", *_TOY, *words]) == 0
    found = json.loads(out.read_text())
    for name in ("ms/token", "words, ms/token"):
        ratio = found[f"plain: {name}"] / found[name]
        assert found[f"times plain: {name}"] == pytest.approx(ratio)
        assert ratio > 0


def test_it_needs_nothing_of_a_service() -> None:
    code = (
        "import sys; sys.modules['grpc_health'] = None; from emu_planner.cli.main import main; "
        f"sys.exit(main({['bench', 'engine', *_TOY, '--no-transformers']!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nano_is_measured_at_its_own_size() -> None:
    assert size_of("nano") == read_transformer_config(resolve("nano"))
    with pytest.raises(ValueError, match="HIDDENxLAYERS"):
        size_of("65x1")


def test_weights_are_made_for_every_tensor() -> None:
    model = random_model(size_of("64x1"), torch.device("cpu"), torch.float32)
    assert all(not p.is_meta and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("given", "said"), [("x", "numbers by commas"), ("1,0", "1 or more")])
def test_wrong_counts_are_named(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "engine", *_TOY, "--sessions", given])
    assert said in capsys.readouterr().err


def test_a_picture_without_a_token_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", *_TOY, "--pixels", "8"]) == 2
    assert "expected 16 or more" in capsys.readouterr().out
