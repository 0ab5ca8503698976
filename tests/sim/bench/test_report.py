"""The page: whole, escaped, without network; plots that are well-formed."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sim.bench import report
from sim.bench.svg import Dot, dots
from tests.sim.bench.results import results, row

SCENES = {f"zone/{seed}/panda": 0.2 * seed for seed in range(5)}


def test_a_plot_is_well_formed_and_in_scale() -> None:
    plot = ET.fromstring(
        dots("a < b", [Dot("x & y", 0.5, 0.25, 0.75, strong=True), Dot("z", 2.0, -1.0, 3.0)])
    )
    circles = [node for node in plot.iter() if node.tag == "circle"]
    spans = [node for node in plot.iter() if node.get("class", "").startswith("span")]
    assert len(circles) == len(spans) == 2
    assert circles[0].get("class") == "strong"
    left, right = (float(spans[0].get(name, "")) for name in ("x1", "x2"))
    assert float(circles[0].get("cx", "")) == pytest.approx((left + right) / 2)
    # what is out of scale is drawn at its edge
    assert float(spans[1].get("x1", "")) < left
    assert float(circles[1].get("cx", "")) == float(spans[1].get("x2", ""))


def test_the_page_shows_best_worst_and_why_and_escapes_words(tmp_path: Path) -> None:
    data = results("mine", SCENES)
    data["entrants"]["copy-first"] = [row("copy-first", scene, 0.0) for scene in SCENES]
    data["entrants"]["scrambled-instruction"] = [{"job": "x", "kind": "skipped", "why": "no"}]
    page = report.render(data, tmp_path)
    assert "<red>" not in page
    assert "stack the &lt;red&gt; block" in page
    assert "lost &amp; gone" in page
    best, worst = page.index("Best scenes"), page.index("Worst scenes")
    assert best < page.index("zone/4/panda") < worst
    assert worst < page.index("zone/0/panda")
    assert "not run: " in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<svg") == 3


def test_without_a_run_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bench sim"):
        report.write(tmp_path)
