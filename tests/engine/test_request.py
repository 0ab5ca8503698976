"""What can be asked for, the published defaults, and the words for what cannot be done."""

import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from emu_planner.engine.request import ASPECT_RATIOS, SETTINGS, Request, RequestError, Settings
from emu_planner.model.prompt import TEMPLATES

PICTURE = np.zeros((8, 8, 3), np.uint8)
# CFG, image top_k / top_p / T, text top_k / top_p / T, area, most tokens: the published configs/
PUBLISHED = {
    "t2i": (5.0, 5120, 1.0, 1.0, 1024, 0.9, 1.0, 1048576, 5120),
    "x2i": (3.0, 5120, 1.0, 1.0, 1024, 0.9, 1.0, 1048576, 5120),
    "howto": (3.0, 10240, 1.0, 1.0, 200, 0.8, 0.7, 518400, 32768),
    "story": (3.0, 10240, 1.0, 1.0, 1024, 0.9, 1.0, 518400, 32768),
    "explore": (3.0, 5120, 1.0, 1.0, 200, 0.5, 0.7, 518400, 32768),
    "vla": (3.0, 10240, 1.0, 1.0, 1024, 0.9, 1.0, 518400, 32768),
}


def test_every_task_has_settings_and_a_template():
    assert SETTINGS.keys() == TEMPLATES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_defaults_of_a_task_are_the_published_ones(task):
    s = SETTINGS[task]
    assert PUBLISHED[task] == (
        s.classifier_free_guidance,
        s.image_top_k,
        s.image_top_p,
        s.image_temperature,
        s.text_top_k,
        s.text_top_p,
        s.text_temperature,
        s.image_area,
        s.max_new_tokens,
    )
    assert s.unconditional_type == "no_text"
    assert s.force_same_image_size is None
    assert s.aspect_ratio == ("default" if task == "t2i" else "auto")


def test_settings_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        SETTINGS["t2i"].image_area = 1
    with pytest.raises(TypeError):
        SETTINGS["t2i"] = Settings()
    assert astuple(replace(SETTINGS["t2i"], image_area=518400)) != astuple(SETTINGS["t2i"])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("4:3", (55, 73)),
        ("21:9", (41, 97)),
        ("16:9", (47, 85)),
        ("3:2", (52, 78)),
        ("1:1", (64, 64)),
        ("3:4", (73, 55)),
        ("9:16", (85, 47)),
        ("2:3", (78, 52)),
        ("default", (55, 73)),
        ("auto", None),
        ("36*120", (36, 120)),
    ],
)
def test_sizes_have_the_published_names(name, size):
    assert Settings(aspect_ratio=name, image_area=1048576).target_size() == size


@pytest.mark.parametrize(
    ("name", "area", "size"),
    [
        ("1:1", 2048 * 2048, (128, 128)),
        ("4:3", 2048 * 2048, (110, 146)),
        # int(sqrt(518400 / 4096)) = 11 px of 16 a token: 64 * 11 / 16
        ("1:1", 518400, (44, 44)),
        ("16:9", 518400, (32, 58)),
    ],
)
def test_a_named_ratio_follows_the_area(name, area, size):
    assert Settings(aspect_ratio=name, image_area=area).target_size() == size


@pytest.mark.parametrize("name", ASPECT_RATIOS)
def test_named_ratios_stay_inside_their_area(name):
    for area in (65536, 262144, 518400, 1048576, 2048 * 2048):
        height, width = Settings(aspect_ratio=name, image_area=area).target_size()
        assert height * width * 256 <= area


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"aspect_ratio": "5:4"}, r"'5:4' is none of \['auto', '4:3'.*as \"36\*64\""),
        ({"aspect_ratio": "0*4"}, "is none of"),
        ({"aspect_ratio": "64x64"}, "is none of"),
        ({"aspect_ratio": "129*128"}, r"is 129\*128, 16512 tokens; expected 1 to 16384"),
        ({"aspect_ratio": "1:1", "image_area": 1024}, r"'1:1' at an image_area of 1024 px is 0\*0"),
        ({"image_area": 2048 * 2048 + 1}, "image_area is 4194305"),
        ({"image_area": 255}, "image_area is 255"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"unconditional_type": "no_img"}, r"'no_img'; expected one of \['no_text', 'no_text_img_cfg'\]"),
        ({"classifier_free_guidance": float("nan")}, "classifier_free_guidance is nan"),
        ({"image_cfg_scale": -1.0}, "image_cfg_scale is -1"),
        ({"text_temperature": -0.1}, "text_temperature is -0.1"),
        ({"text_top_k": -1}, "text_top_k is -1"),
        ({"image_top_p": 0.0}, "image_top_p 0.0"),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(RequestError, match=words):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (lambda: Request("paint", "a cube"), r"'paint' is unknown; expected one of \['t2i', 'x2i'"),
        (lambda: Request("t2i", " \n"), "the prompt is empty"),
        (lambda: Request("x2i", "make it blue"), "give 1 to 3 reference images"),
        (lambda: Request("story", "go", (PICTURE,) * 4), "4 reference images; the model takes at most 3"),
        (
            lambda: Request("story", "go", (PICTURE[..., 0],)),
            r"image 1: expected uint8 \[H, W, 3\], got uint8",
        ),
        (lambda: Request("vla", "go", (PICTURE, PICTURE / 255)), "image 2: .* got float64"),
        (lambda: Request("vla", "go", (PICTURE[:0],)), r"image 1: .* \[0, 8, 3\]"),
    ],
)
def test_wrong_requests_are_named(request_of, words):
    with pytest.raises(RequestError, match=words):
        request_of()


@pytest.mark.parametrize("task", PUBLISHED)
def test_every_task_takes_pictures_and_all_but_one_go_without(task):
    assert len(Request(task, "go", (PICTURE,) * 3).images) == 3
    if task != "x2i":
        assert Request(task, "go").images == ()


def test_asking_and_reading_need_no_torch():
    code = (
        "import sys, emu_planner.engine.request, emu_planner.engine.parts; "
        "sys.exit(bool({'torch', 'tiktoken'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_in_the_documents_holds_these_defaults():
    text = (Path(__file__).parents[2] / "docs" / "generation.md").read_text()
    assert f"| | {' | '.join(SETTINGS)} |" in text

    def row(name, form):
        return f"| {name} | {' | '.join(form.format(s=s) for s in SETTINGS.values())} |"

    assert row("`classifier_free_guidance`", "{s.classifier_free_guidance}") in text
    for kind in ("image", "text"):
        form = f"{{s.{kind}_top_k}} / {{s.{kind}_top_p:g}} / {{s.{kind}_temperature:g}}"
        assert row(f"`{kind}_top_k` / `_top_p` / `_temperature`", form) in text
    assert row("`image_area`, px", "{s.image_area}") in text
    assert row("`max_new_tokens`", "{s.max_new_tokens}") in text
