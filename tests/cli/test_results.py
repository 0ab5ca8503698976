"""Contact sheet, page and report from made-up steps."""

import json

import numpy as np
import pytest

from emu_planner.cli.contact_sheet import draw_contact_sheet
from emu_planner.cli.page import remove_results, render_page, write_results
from emu_planner.cli.pictures import read_picture
from emu_planner.cli.record import DemoRecord, StepRecord, as_json

GREY, RED, GREEN = (90, 90, 90), (200, 20, 20), (20, 200, 20)


def plain(colour, height=192, width=384):
    return np.full((height, width, 3), colour, np.uint8)


@pytest.fixture
def record():
    steps = [
        StepRecord(0, "pick up the <red> block", 1.0, plain(RED), 2, plain(GREY), plain(GREEN), "succeeded"),
        StepRecord(1, "place it somewhere " * 6, 1.0, plain(RED), 2, plain(GREY), None, "failed", "slipped"),
    ]
    steps[0].words_s, steps[0].keyframe_s, steps[0].executed_s = 0.25, 1.5, 12.34
    conditions = {"red block in bowl": False, "gripper empty": True}
    return DemoRecord(
        "stack <all> of it", "stack scene 7", "nano", True, steps, 0.2, 1.5, 21.0, conditions=conditions
    )


def has_colour(picture, colour):
    return bool((picture == np.array(colour, np.uint8)).all(axis=2).any())


def test_the_sheet_shows_each_picture_in_its_column_and_row(record):
    sheet = draw_contact_sheet(record)
    columns = {}
    for name, colour in (("camera", GREY), ("imagined", RED), ("happened", GREEN)):
        at = np.nonzero((sheet == np.array(colour, np.uint8)).all(axis=2))[1]
        columns[name] = at
        assert at.max() - at.min() >= 370
    assert columns["camera"].max() < columns["imagined"].min()
    assert columns["imagined"].max() < columns["happened"].min()
    # two cameras' pictures, one of what happened
    area = {name: len(at) for name, at in columns.items()}
    assert 1.8 < area["camera"] / area["happened"] < 2.2


def test_the_sheet_takes_any_shape_and_no_steps_at_all(record):
    record.steps[0].before = plain(GREY, 480, 640)
    record.steps[0].keyframe = plain(RED, 16, 32)
    assert has_colour(draw_contact_sheet(record), RED)
    record.steps = []
    assert draw_contact_sheet(record).shape[1] > 600


def test_the_page_escapes_and_names_files_that_are_there(record, tmp_path):
    page = write_results(record, tmp_path)
    text = page.read_text()
    assert "<red>" not in text
    assert "pick up the &lt;red&gt; block" in text
    assert "stack &lt;all&gt; of it" in text
    names = [part.split('"')[0] for part in text.split('src="')[1:]]
    assert len(names) == 5
    for name in (*names, "contact_sheet.png"):
        assert read_picture(tmp_path / name).size
    assert "task not done: red block in bowl" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["succeeded"] is False
    assert [step["state"] for step in report["steps"]] == ["succeeded", "failed"]
    assert "keyframe" not in report["steps"][0]
    remove_results(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_verdict_says_what_is_known(record):
    assert record.has_plan
    assert as_json(record)["verdict"].startswith("task not done")
    record.conditions = {"all": True}
    assert record.succeeded is True
    record.conditions = None
    assert record.succeeded is None
    assert "cannot judge" in render_page(record)
    record.executed = False
    assert "nothing was executed" in record.verdict
    record.steps[1].keyframe = None
    assert not record.has_plan
