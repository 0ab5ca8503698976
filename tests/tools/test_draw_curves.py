"""tools/draw_curves.py draws what a run's log holds, where it belongs."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emu_planner.training.log import RunLog
from tools.draw_curves import draw, main, panels_of, read_run, smoothed, ticks


def write(folder: Path, rows: list[dict]) -> Path:
    """A run's log, written as runs write it."""
    log = RunLog(folder)
    for row in rows:
        log.write(row["step"], {name: value for name, value in row.items() if name != "step"})
    log.close()
    return folder


def ends(picture: str) -> list[tuple[float, float, float, float]]:
    """The first and last point of each strong curve."""
    found = []
    for path in re.findall(r'<path d="M([^"]+)"[^>]*class="mean"', picture):
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        found.append((*points[0], *points[-1]))
    return found


def test_a_run_that_went_on_counts_each_step_once(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "loss": 5.0, "tokens_per_s": 9.0},
        {"step": 20, "loss": 4.0},
        {"step": 20, "loss": 3.0},
    ]
    run = read_run(write(tmp_path, rows))
    assert run["loss"] == [(1, 5.0), (20, 3.0)]
    assert run["tokens_per_s"] == [(1, 9.0)]


def test_figures_stand_beside_their_held_out_ones_and_times_nowhere() -> None:
    names = (
        "step",
        "elapsed_s",
        "loss",
        "text",
        "rate",
        "tokens_per_s",
        "held_out",
        "held_out_text",
        "words",
    )
    names += ("words_share", "draw_s", "check_plan_words", "check_plan_picture", "check_first_subgoal_words")
    panels = panels_of([{name: [(1, 1.0)] for name in names}])
    assert panels == [
        ["loss", "held_out"],
        ["text", "held_out_text"],
        ["words", "check_first_subgoal_words", "check_plan_words"],
        ["check_plan_picture"],
    ]


def test_curves_stand_where_their_values_are(tmp_path: Path) -> None:
    falls, rises = {"loss": [(0, 4.0), (100, 0.0)]}, {"loss": [(50, 0.0), (100, 4.0)]}
    picture = draw({"one": falls, "two <b>": rises}, [["loss"]])
    root = ElementTree.fromstring(picture)
    assert {"one", "two <b>", "loss"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    (x0, top, x1, bottom), (middle, y0, _, y1) = ends(picture)
    assert (y0, y1) == (bottom, top)
    assert top < bottom
    assert middle == pytest.approx((x0 + x1) / 2)


def test_a_logarithmic_scale_spreads_tens_evenly() -> None:
    picture = draw(
        {"a": {"x": [(0, 1.0), (1, 0.0), (2, 10.0)]}, "b": {"x": [(0, 100.0)]}}, [["x"]], logarithmic=True
    )
    (_, one, _, ten), (_, hundred, _, _) = ends(picture)
    assert ten == pytest.approx((one + hundred) / 2)


def test_means_and_ticks() -> None:
    assert smoothed([(1, 1.0), (2, 3.0), (3, 5.0)], 2) == [(1, 1.0), (2, 2.0), (3, 4.0)]
    assert ticks(0, 1) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.13, 0.42) == [0.2, 0.3, 0.4]
    assert ticks(0, 6000) == [0, 2000, 4000, 6000]


def test_the_command_writes_a_picture_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run", [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}])
    out = tmp_path / "docs" / "curves.svg"
    assert main([str(run), "--out", str(out), "--smooth", "2"]) == 0
    assert 'class="raw"' in out.read_text()
    assert main([str(run), "--out", str(out), "--figures", "reward"]) == 2
    assert "no run has figures of reward" in capsys.readouterr().out
    assert main([str(tmp_path), "--out", str(out)]) == 2
    assert "is not there" in capsys.readouterr().out
    (run / "log.jsonl").write_text(json.dumps([1]) + "\n")
    assert main([str(run), "--out", str(out)]) == 2
    assert "line 1" in capsys.readouterr().out
    assert main([str(run), str(run), "--out", str(out)]) == 2
    assert "different --names" in capsys.readouterr().out


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_run(tmp_path)["loss"] == [(1, 2.0)]


def test_a_mean_of_no_points_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--out", str(tmp_path / "a.svg"), "--smooth", "0"])
