"""A story as numbered files, as a page and as a video."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from emu_planner.story import Draft, Image, ImageFormat, ImageMeta, Story, StoryError, pack_picture, read
from emu_planner.story.layout import Kind, lay_out, remove_old, thumbnail, write_item
from emu_planner.story.page import Entry, render_index, render_page
from emu_planner.story.video import VideoConfig, draw_cards, fit_picture, wrap, write_video
from tests.golden import FOLDER

NASTY = 'a <b onload="x()">&amp; question</b></title><script>x</script>'


def picture(seed, width=48, height=32):
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def make_story(references=1, question=NASTY):
    draft = Draft(question, [picture(seed) for seed in range(references)])
    draft.think("<i>first</i> look")
    draft.tell("one <hr>\n\nand more")
    draft.think_of_picture("thought & picture")
    draft.draw(picture(10))
    draft.draw(picture(11))
    draft.tell("")
    draft.draw(picture(12))
    return draft.story()


def names(story):
    return [item.name for item in lay_out(story)]


def test_files_have_the_published_names(tmp_path):
    story = read(FOLDER / "story.pb")
    items = list(lay_out(story))
    for item in items:
        write_item(item, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000_global_cot.txt",
        "000_question.txt",
        "000_reference_image.png",
        "001_00_image.png",
        "001_00_image_cot.txt",
        "001_text.txt",
        "002_00_image.png",
        "002_text.txt",
    ]
    assert (tmp_path / "001_text.txt").read_text() == "Grasp the red block.\n"
    # a PNG is the story's own bytes
    meta = next(story.segments()).images[0]
    assert (tmp_path / "001_00_image.png").read_bytes() == meta.image.image_data
    assert [item.step for item in items] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(("references", "first"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_no_number_names_both_a_reference_and_a_step(references, first):
    found = names(make_story(references))
    assert len(set(found)) == len(found)
    given = {name[:3] for name in found if "reference" in name}
    steps = {name[:3] for name in found if re.fullmatch(r"\d+(_text\.txt|_\d\d_image\.png)", name)}
    assert given == {f"{index:03d}" for index in range(references)}
    assert steps == {f"{first:03d}", f"{first + 1:03d}"}
    assert not (given - {"000"}) & steps


def test_another_format_is_written_as_the_png_that_its_name_promises(tmp_path):
    data = cv2.imencode(".bmp", picture(3))[1].tobytes()
    story = Story(reference_images=(ImageMeta(image=Image(image_data=data)),))
    item = next(item for item in lay_out(story) if item.is_picture)
    write_item(item, tmp_path)
    written = (tmp_path / "000_reference_image.png").read_bytes()
    assert written.startswith(b"\x89PNG")
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(written, np.uint8), 1), picture(3))


def test_a_broken_picture_stays_as_words_and_has_no_file(tmp_path):
    bad = ImageMeta(image=replace(pack_picture(picture(1)), image_data=b"\x89PNG\r\n\x1a\ncut"))
    items = list(lay_out(replace(make_story(0), reference_images=(bad,))))
    item = items[1]
    assert (item.kind, item.image) == (Kind.REFERENCE, None)
    assert "truncated" in item.text
    write_item(item, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoryError, match="truncated"):
        item.rgb()
    assert "cannot be shown: the PNG data is truncated" in render_page(items, "x.pb")


def test_only_our_own_files_are_removed(tmp_path):
    ours = [*names(make_story(3)), "index.html", "video.mp4", "thumbnail.jpg", "1000_text.txt"]
    others = ["notes.txt", "001_text.txt.bak", "01_text.txt", "story.pb", "001_image.png"]
    for name in ours + others:
        (tmp_path / name).touch()
    (tmp_path / "002_text.txt").unlink(missing_ok=True)
    (tmp_path / "002_text.txt").mkdir()
    remove_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "002_text.txt"])


def test_a_folder_without_a_story_keeps_what_it_has(tmp_path):
    (tmp_path / "video.mp4").touch()
    remove_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_a_thumbnail_keeps_the_shape():
    item = next(item for item in lay_out(make_story()) if item.kind is Kind.PICTURE)
    assert thumbnail(item).shape == (32, 48, 3)
    assert thumbnail(item, 12).shape == (8, 12, 3)


class Page(HTMLParser):
    """Tags in order, and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_shows_all_and_needs_no_network_or_script():
    items = list(lay_out(make_story(2)))
    page = Page(render_page(items, "some/story.pb", "video.mp4"))
    text = "".join(page.words)
    for item in items:
        assert item.text.strip() in text
    shown = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    assert shown == [item.name for item in items if item.is_picture]
    # the words of strangers are words
    assert not {"script", "b", "i", "hr", "link", "iframe"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, name, value in page.attributes if name in ("src", "href") and ":" in value]
    # thoughts are folded away
    assert page.tags.count("details") == 2
    assert ("details", "open", None) not in page.attributes
    assert page.tags.count("section") == 3
    assert ("video", "src", "video.mp4") in page.attributes


def test_a_story_without_anything_still_has_a_page():
    page = render_page(list(lay_out(Story())), "empty.pb")
    assert "A story without a question" in page
    assert "no steps" in page
    assert "<video" not in page


def test_the_list_links_to_every_story():
    entries = [
        Entry(Path("a b/index.html"), NASTY, "a b.pb", Path("a b/thumbnail.jpg")),
        Entry(Path("c/index.html"), "", "c.pb"),
    ]
    page = Page(render_index(entries, "mine & yours"))
    assert [v for tag, name, v in page.attributes if name == "href"] == ["a%20b/index.html", "c/index.html"]
    assert [v for tag, name, v in page.attributes if name == "src"] == ["a%20b/thumbnail.jpg"]
    assert NASTY in "".join(page.words)
    assert "2 stories" in page.words


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = video.read()
        if not there:
            return video.get(cv2.CAP_PROP_FPS), frames
        frames.append(frame)


def test_the_video_shows_words_and_pictures_at_one_frame_a_second(tmp_path):
    if not hasattr(cv2, "FontFace"):
        pytest.skip("text in videos needs OpenCV 5")
    items = list(lay_out(make_story(1, "what?")))
    codec = write_video(items, tmp_path / "v.mp4")
    fps, frames = frames_of(tmp_path / "v.mp4")
    assert codec in ("VP9", "MPEG-4 part 2")
    assert fps == 1
    # a question, a reference, words and three pictures, two seconds each
    assert [frame.shape for frame in frames] == [(720, 960, 3)] * 12
    for index, seed in ((2, 0), (6, 10), (8, 11), (10, 12)):
        wanted = fit_picture(picture(seed), (960, 720)).astype(float)
        assert np.abs(frames[index] - wanted).mean() < 8, index


def test_long_words_stay_longer_and_go_on_on_another_card():
    if not hasattr(cv2, "FontFace"):
        pytest.skip("text in videos needs OpenCV 5")
    words = " ".join(f"word{index}" for index in range(400))
    cards = list(draw_cards("Step 1", words, (960, 720)))
    assert len(cards) > 1
    assert sum(count for _, count in cards) == 400
    font = cv2.FontFace("uni")
    for text in (words, "\u7c98\u571f" * 200, "x" * 500, "a\n\nb  c", ""):
        lines = wrap(text, 300, font, 30)
        assert "".join("".join(lines).split()) == "".join(text.split())
        for line in lines:
            box = cv2.getTextSize((0, 0), line, (0, 0), font, 30, 400)
            assert box[0] + box[2] <= 300


def test_signs_that_steer_do_not_end_a_card():
    if not hasattr(cv2, "FontFace"):
        pytest.skip("text in videos needs OpenCV 5")
    ((steered, _),) = draw_cards("Step 1", "a\0b\x1b\tc\nd", (960, 720))
    ((plain, _),) = draw_cards("Step 1", "a b  c\nd", (960, 720))
    np.testing.assert_array_equal(steered, plain)


def test_a_video_s_settings_are_checked():
    with pytest.raises(ValueError, match="fps is 0"):
        VideoConfig(fps=0)


def test_a_browser_shows_every_picture_of_the_page(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to show the page (apt-get install chromium)")
    items = [item for item in lay_out(make_story(2, "what?")) if item.kind is not Kind.WORDS]
    for item in items:
        write_item(item, tmp_path)
    (tmp_path / "index.html").write_text(render_page(items, "x.pb"))
    told = "document.title=[...document.images].map(i=>i.naturalWidth+'x'+i.naturalHeight).join(' ')"
    probe = (tmp_path / "index.html").read_text() + f"<script>window.onload=()=>{{{told}}}</script>"
    (tmp_path / "probe.html").write_text(probe)
    words = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    command = [browser, *words, "--dump-dom", (tmp_path / "probe.html").as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the browser does not answer here")
    if "<title>" not in done.stdout:
        pytest.skip(f"the browser does not start here: {done.stderr[-200:]}")
    assert "<title>" + " ".join(["48x32"] * 5) + "</title>" in done.stdout


def test_formats_are_those_of_the_published_form():
    assert [kind.name for kind in ImageFormat] == ["UNKNOWN", "JPEG", "PNG", "WEBP", "BMP"]
