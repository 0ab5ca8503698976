"""`emu-planner view` as a user runs it."""

import shutil
import subprocess
import sys

import pytest

from emu_planner.cli.view import find_stories, places
from emu_planner.story import Clip, Image, ImageMeta, Segment, Story, read, write
from tests.cli.runs import run_cli, run_here
from tests.golden import FOLDER

GOLDEN = FOLDER / "story.pb"


@pytest.fixture
def stories(tmp_path):
    folder = tmp_path / "exp"
    (folder / "story/proto").mkdir(parents=True)
    shutil.copy(GOLDEN, folder / "story/proto/story_000.pb")
    shutil.copy(GOLDEN, folder / "story/proto/story_000.bin")
    shutil.copy(GOLDEN, folder / "top.proto")
    (folder / "notes.txt").write_text("no story")
    (folder / ".half.pb.part").write_text("no story")
    return folder


def test_one_story_becomes_a_folder_with_a_page_and_a_video(tmp_path):
    out = tmp_path / "shown"
    done = run_cli("view", str(GOLDEN), "--output", str(out), "--video")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'index.html'}\n"
    assert "Grasp the red block." in (out / "index.html").read_text()
    assert (out / "002_00_image.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "video.mp4").stat().st_size > 1000
    # a shorter story into the same folder leaves nothing of the longer one
    write(tmp_path / "short.pb", Story(question="short"))
    done = run_here("view", str(tmp_path / "short.pb"), "--output", str(out))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["000_question.txt", "index.html"]


def test_a_folder_is_searched_and_gets_a_list(stories, tmp_path):
    out = tmp_path / "shown"
    done = run_here("view", str(stories), "--output", str(out))
    assert done.returncode == 0, done.stderr
    listed = (out / "index.html").read_text()
    for place in ("top", "story/proto/story_000", "story/proto/story_000.pb"):
        assert (out / place / "index.html").is_file()
        assert f'href="{place}/index.html"' in listed
        assert (out / place / "thumbnail.jpg").is_file()
    assert "3 stories" in listed


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(stories, tmp_path):
    (stories / "story/cut.pb").write_bytes(GOLDEN.read_bytes()[:9000])
    bad = ImageMeta(image=Image(image_data=b"no picture"))
    write(stories / "bad.pb", Story(question="q", clips=(Clip(segments=(Segment(images=(bad,)),)),)))
    out = tmp_path / "shown"
    done = run_here("view", str(stories), "--output", str(out))
    assert done.returncode == 3
    assert "cut.pb cannot be read as a story" in done.stderr
    assert "bad.pb: 001_00_image.png: the data is no PNG" in done.stderr
    assert "4 stories" in (out / "index.html").read_text()
    assert "cannot be shown" in (out / "bad/index.html").read_text()
    assert not (out / "story/cut").exists()


def test_wrong_input_is_told_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.pb").write_bytes(GOLDEN.read_bytes()[:9000])
    (tmp_path / "file").write_text("")
    for words, told in (
        ((str(tmp_path / "nothing"),), "there is no file or folder"),
        ((str(tmp_path / "empty"),), "holds no story (*.pb, *.proto, *.bin)"),
        ((str(tmp_path / "cut.pb"),), "cannot be read as a story"),
        ((str(tmp_path),), "none of the 1 files"),
        ((str(GOLDEN), "--output", str(tmp_path / "file" / "x")), "Not a directory"),
    ):
        done = run_here("view", *words)
        assert done.returncode == 2, words
        assert told in done.stderr


def test_each_story_has_a_place_of_its_own(stories):
    found = find_stories(stories)
    assert [str(path) for path in found] == [
        "story/proto/story_000.bin",
        "story/proto/story_000.pb",
        "top.proto",
    ]
    assert [str(path) for path in places(found)] == [
        "story/proto/story_000",
        "story/proto/story_000.pb",
        "top",
    ]


def test_viewing_needs_no_torch_and_no_grpc(tmp_path):
    code = (
        "import sys; from emu_planner.cli.main import main;"
        f"print(main(['view', {str(GOLDEN)!r}, '--output', {str(tmp_path / 'out')!r}]));"
        "print([m for m in ('torch', 'grpc', 'rclpy', 'pybullet') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["0", "[]"]
    assert read(GOLDEN).question
