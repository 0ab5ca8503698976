"""`emu-planner bench` as a user sees it: tables without a model's luck, and errors in words."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from emu_planner.cli import bench_planners
from emu_planner.engine import picture
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from sim.bench.cheats import SaysNothing
from sim.bench.controls import SHORT
from tests.cli.runs import run_cli, run_here, scripted_service
from tests.cli.test_serve_command import checkpoint  # noqa: F401 - fixture
from tests.engine.conftest import CONFIG, _one_thread, frames, parts  # noqa: F401 - fixtures
from tests.sim.bench.results import results


def told(done):
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sim", "--suite", "nowhere", "--planner", "oracle"], "no suite 'nowhere'"),
        (["sim", "--planner", "oracle", "--controls", "oracle,luck"], "unknown controls"),
        (["quick", "--planner", "/nowhere/at/all"], "no checkpoint"),
        (["sim", "--planner", "sim.bench.cheats:Luck"], "no planner 'sim.bench.cheats:Luck'"),
        (["sim", "--planner", "text-only"], "derives from another planner"),
        (["sim", "--planner", "oracle", "--vision", "none"], "has no tokenizer"),
        (["compare", "only.json"], "two results files or more"),
        (["report", "nowhere"], "run `emu-planner bench sim"),
    ],
)
def test_wrong_arguments_are_told_before_any_process_starts(tmp_path, words, message):
    out = ("--out", str(tmp_path / "out")) if words[0] in ("sim", "quick") else ()
    done = run_here("bench", *words, *out)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in told(done)
    assert not (tmp_path / "out").exists()


def test_random_tokens_are_decoded_by_the_checkpoints_own_tokenizer(parts):  # noqa: F811
    _, vision, _ = parts
    planner = bench_planners.WithTokenizer(SaysNothing(), vision)
    shown = np.full((32, 64, 3), 90, np.uint8)
    pictures = [planner.random_picture(shown, seed) for seed in (1, 1, 2)]
    assert {drawn.shape for drawn in pictures} == {shown.shape}
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    # any code of the book may come, whatever is shown
    assert np.array_equal(planner.random_picture(np.zeros_like(shown), 1), pictures[0])
    grid = np.random.default_rng(1).integers(0, vision.config.n_embed, picture.encode(vision, shown).shape)
    assert np.array_equal(picture.decode(vision, grid, ("picture",)).rgb, pictures[0])


def test_a_checkpoint_of_other_pictures_is_refused_with_both_sizes(checkpoint, tmp_path):  # noqa: F811
    done = run_here("bench", "sim", "--planner", checkpoint, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "draws pictures of 64x32 px" in told(done)
    assert "the benchmark's scenes have 384x192 px" in told(done)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_checkpoint_gives_rows_tables_and_a_page(checkpoint, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    # of the scenes' size, for which its context has no room: its plans fail
    replace(CONFIG, picture_width=384, picture_height=192).save(checkpoint)
    words = ("quick", "--planner", checkpoint, "--scenes", "1", "--workers", "1", "--out", str(out))
    words += ("--controls", ",".join((*SHORT, "random-tokens")))
    done = run_cli("bench", *words, timeout_s=240)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads((out / "results.json").read_text())
    assert data["planner"]["name"] == "tiny"
    assert set(data["entrants"]) == {"tiny", "random-tokens", *SHORT}
    assert data["entrants"]["oracle"][0]["metrics"]["success_open"] == 1.0
    # the oracle's words beside random codes: shown through the same tokenizer, so refused with it
    (row,) = data["entrants"]["random-tokens"]
    assert row["faults"] == []
    assert row["metrics"]["success_open"] == 1.0
    assert row["metrics"]["agreement"] is None
    # its random tokenizer shows nothing: the gate refuses its pictures, and the ceiling is printed
    assert data["ceiling"]
    assert not data["gate"]["passed"]
    text = told(done)
    for figure in (
        "subgoals valid",
        "task success, closed loop",
        "ceiling",
        "NOT scored",
    ):
        assert figure in text
    assert (out / "index.html").read_text().startswith("<!doctype html>")
    # nothing is left to do, and another checkpoint's rows are not mixed in
    again = run_cli("bench", *words, timeout_s=240)
    assert again.returncode == 0
    other = run_cli("bench", "quick", "--planner", "oracle", "--scenes", "1", "--out", str(out))
    assert other.returncode == 2
    assert "rows are never mixed" in told(other)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_service_is_measured_over_grpc(tmp_path):
    suite = tmp_path / "one.json"
    suite.write_text(json.dumps({"scenes": [{"family": "zone", "seed": 1_000_000_009}]}))
    words = ("sim", "--suite", str(suite), "--controls", "copy-first", "--workers", "1")
    with scripted_service("zone", 1_000_000_009) as target:
        for tokenizer, out in ((("--vision", "none"), "pixels"), ((), "unknown")):
            more = ("--planner", f"grpc://{target}", "--out", str(tmp_path / out), *tokenizer)
            done = run_cli("bench", *words, *more, timeout_s=120)
            assert done.returncode == 0, done.stdout + done.stderr
        pixels, unknown = (
            json.loads((tmp_path / out / "results.json").read_text()) for out in ("pixels", "unknown")
        )
    (row,) = pixels["entrants"][f"grpc://{target}"]
    assert row["score"] > 0.97
    assert row["faults"] == []
    assert pixels["entrants"]["copy-first"][0]["score"] == 0.0
    # nobody said how its pictures are made: its words count, its pictures are not scored
    (row,) = unknown["entrants"][f"grpc://{target}"]
    assert row["score"] is None
    assert row["metrics"]["success_open"] == row["metrics"]["success_closed"] == 1.0
    assert "--vision FOLDER" in unknown["gate"]["why"]


def test_a_planner_that_cannot_start_is_told(tmp_path):
    name = "tests.sim.bench.scripted:cannot_start"
    done = run_cli("bench", "sim", "--planner", name, "--scenes", "1", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "no such weights" in told(done)


def test_more_than_one_worker_is_the_default_of_controls_alone():
    assert bench_planners.find("oracle", None).workers == (os.cpu_count() or 1)
    assert bench_planners.find("sim.bench.cheats:SaysNothing", "none").workers == 1


def test_planners_are_found_by_their_names():
    assert bench_planners.find("oracle", None).make is None
    cheat = bench_planners.find("sim.bench.cheats:SaysNothing", "none")
    assert cheat.draws_pixels
    assert cheat.make is not None
    assert type(cheat.make()).__name__ == "SaysNothing"


def test_a_service_is_known_by_its_model_too():
    def found(model, version):
        config = ServiceConfig(address="127.0.0.1:0", drain_timeout_s=0.0, model=model, model_version=version)
        with running_service(lambda: SaysNothing(), config) as target:
            entry = bench_planners.find(f"grpc://{target}", None)
        assert not entry.draws_pixels
        assert entry.identity.pop("server") == target
        return entry.identity

    assert found("nano", "1") == {"model": "nano", "model_version": "1"}
    assert found("nano", "2") != found("nano", "1")


def test_a_service_that_does_not_answer_is_told_before_any_process_starts(tmp_path):
    out = tmp_path / "out"
    done = run_here("bench", "sim", "--planner", "grpc://127.0.0.1:1", "--out", str(out))
    assert done.returncode == 1
    assert "no planner service answers at 127.0.0.1:1" in told(done)
    assert not out.exists()


def test_a_module_is_known_by_its_source_too(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "own_planner.py"
    source.write_text(
        "from functools import partial\n"
        "from sim.bench.cheats import SaysNothing\n"
        "class Own(SaysNothing): pass\n"
        "made = partial(Own)\n"
    )
    before = [bench_planners.find(f"own_planner:{name}", "none").identity for name in ("Own", "made")]
    assert before[0] == before[1] != {}
    source.write_text(source.read_text() + "# better\n")
    after = [bench_planners.find(f"own_planner:{name}", "none").identity for name in ("Own", "made")]
    assert after[0] == after[1] != before[0]
    # known by where it is written, not by where it was imported to
    elsewhere = bench_planners.find("own_planner:SaysNothing", "none").identity
    assert elsewhere == bench_planners.find("sim.bench.cheats:SaysNothing", "none").identity


def test_results_are_compared(tmp_path):
    scenes = [f"stack/{seed}/panda" for seed in range(6)]
    for name, score in (("good", 0.9), ("poor", 0.1), ("middling", 0.5)):
        (tmp_path / f"{name}.json").write_text(json.dumps(results(name, dict.fromkeys(scenes, score))))
    files = [str(tmp_path / f"{name}.json") for name in ("good", "poor", "middling")]
    done = run_here("bench", "compare", *files, "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 / 0 / 0" in told(done)
    data = json.loads((tmp_path / "out.json").read_text())
    assert [pair["wins"] for pair in data["pairs"]] == [6, 6, 0]
    assert [rating["name"] for rating in data["ratings"]] == ["good", "poor", "middling"]
    twice = run_here("bench", "compare", files[0], f"{files[0]}#good")
    assert "0 / 6 / 0" in told(twice)


def test_a_service_that_ends_is_told_with_its_log(tmp_path):
    missing = str(tmp_path / "no-such-checkpoint")
    done = run_cli("bench", "latency", "--checkpoint", missing, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "the service ended with status 2" in told(done)
    assert "Traceback" not in done.stdout + done.stderr
