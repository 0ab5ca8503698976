"""tools/bench_ways.py and bench_products.py at toy size on a CPU: what they tell belongs together."""

import json
import sys

import pytest
import torch

from tools import bench_products, bench_ways

TOY = ("--config", "64x1", "--device", "cpu", "--context", "24", "--pixels", "32", "--steps", "3")


def test_figures_of_one_run_belong_together(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figures.json"
    words = ("--ways", "plain,graphs,graphs+fp8", "--dtype", "float32", "--json", str(out))
    monkeypatch.setattr(sys, "argv", ["bench_ways", *TOY, *words])
    bench_ways.main()
    plain, graphs, small = (found := json.loads(out.read_text())["ways"]).values()
    assert list(found) == ["plain", "graphs", "graphs+fp8"]
    assert small["times plain"] == pytest.approx(plain["ms/code"] / small["ms/code"])
    assert graphs["logits, relative error"] == 0
    assert 0 < small["logits, relative error"] < 0.2
    assert small["bytes a token here"] < plain["bytes a token here"]
    assert "graphs+fp8: prompt" in capsys.readouterr().out


def test_logits_are_compared_up_to_what_no_choice_sees():
    made = torch.randn(5, 20)
    assert bench_ways.compare(made + 7, made)["logits, relative error"] < 1e-6
    assert bench_ways.compare(-made, made) == {
        "logits, relative error": pytest.approx(2),
        "same best id": pytest.approx(float((made.argmin(1) == made.argmax(1)).double().mean())),
    }


def test_an_unknown_way_is_named():
    assert bench_ways.way_of("plain") == bench_ways.Way("plain", graphs=False, fp8=False, ranks=False)
    with pytest.raises(ValueError, match=r"graphs\+int4: \['int4'\] are none of graphs, fp8, ranks"):
        bench_ways.way_of("graphs+int4")


def test_every_product_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_products", "--config", "64x1", "--device", "cpu"])
    bench_products.main()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 + 4 * 5
    assert all("scales of rows" in line for line in said[1:])
