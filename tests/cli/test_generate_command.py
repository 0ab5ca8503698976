"""`emu-planner generate` with a tiny real checkpoint that has learned one answer for each task."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from emu_planner.cli.generate_progress import shorten
from emu_planner.cli.main import main
from emu_planner.cli.pictures import read_picture, write_picture
from emu_planner.engine import generator, jacobi, raster
from emu_planner.story import read, unpack_picture, write
from tests.cli.runs import ROOT, start_cli
from tools.make_tiny_checkpoint import ANSWERS, QUESTIONS, make

# the model says what it knows by heart
GREEDY = ("--text-top-k", "1", "--image-top-k", "1", "--classifier-free-guidance", "1", "--size", "2*3")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    make(folder)
    return folder


@pytest.fixture
def generate(tiny, tmp_path, capsys):
    """Runs the command; returns (status, lines of stdout, text of stderr)."""

    def run(*words, checkpoint=tiny, output=tmp_path / "out"):
        known = ("--checkpoint", checkpoint, "--output", output)
        capsys.readouterr()
        status = main(["generate", *(str(word) for word in (*known, *words))])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return run


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "seen.png"
    write_picture(path, np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return path


@pytest.mark.parametrize("task", [task for task in ANSWERS if task != "x2i"])
def test_each_task_becomes_the_story_that_the_model_knows(generate, task, tmp_path):
    status, out, err = generate("--task-type", task, "--prompt", QUESTIONS[task], *GREEDY)
    assert (status, out) == (0, [str(tmp_path / "out/proto/story_000.pb")]), err
    story = read(out[0])
    assert story.question == QUESTIONS[task]
    assert not story.reference_images
    # the parts of the answer, in order, as the published writer lays them out
    told = []
    if story.summary:
        told.append(("GlobalThought", story.summary))
    for index, clip in enumerate(story.clips):
        assert clip.clip_id == f"clip_{index:04d}"
        (segment,) = clip.segments
        told += [("Words", segment.asr)] * bool(segment.asr)
        for meta in segment.images:
            told += [("ImageThought", meta.chain_of_thought)] * bool(meta.chain_of_thought)
            told.append("picture")
            assert unpack_picture(meta.image).shape == (32, 48, 3)
    parts = [part if isinstance(part, int) else (type(part).__name__, part.text) for part in ANSWERS[task]]
    assert told == ["picture" if isinstance(part, int) else part for part in parts]


def test_a_picture_is_edited_and_kept_with_the_story(generate, picture):
    size = GREEDY[:-2]  # of the reference picture, as published
    words = ("--task-type", "x2i", "--prompt", QUESTIONS["x2i"], "--image", picture, "--image-area", 1536)
    status, out, err = generate(*words, *size)
    assert status == 0, err
    story = read(out[0])
    (meta,) = story.reference_images
    assert unpack_picture(meta.image).shape == (40, 60, 3)
    (drawn,) = story.clips[0].segments[0].images
    assert unpack_picture(drawn.image).shape == (32, 48, 3)


def test_the_decoder_that_is_asked_for_runs_and_gives_the_same_story(generate, tmp_path, monkeypatch):
    ran = []
    for name, module in (("raster", raster), ("jacobi", jacobi)):

        def counted(*args, name=name, run=module.generate, **options):
            ran.append(name)
            return run(*args, **options)

        monkeypatch.setattr(module, "generate", counted)
    words = ("--task-type", "t2i", "--prompt", QUESTIONS["t2i"], *GREEDY)
    stories = []
    for decoder in ("raster", "jacobi"):
        status, out, err = generate(*words, "--decoder", decoder, output=tmp_path / decoder)
        assert status == 0, err
        stories.append(read(out[0]))
    assert ran == ["raster", "jacobi", "raster"]  # jacobi goes through raster, with steps of its own
    assert stories[0] == stories[1]


@pytest.mark.parametrize(("words", "graphs"), [((), False), (("--graphs",), True)])
def test_passes_are_recorded_where_that_is_asked_for(generate, monkeypatch, words, graphs):
    asked, choose = [], generator.decoder_of
    monkeypatch.setattr(
        generator, "decoder_of", lambda *parts, **more: asked.append(more) or choose(*parts, **more)
    )
    status, _, err = generate("--task-type", "t2i", "--prompt", QUESTIONS["t2i"], *GREEDY, *words)
    assert status == 0, err
    assert asked == [{"graphs": graphs}]


@pytest.fixture
def many(tmp_path, picture):
    lines = [
        {"prompt": "tell of two blocks"},
        {"prompt": "tell of a picture", "reference_image": picture.name, "name": "with picture"},
        {"prompt": "tell of three blocks"},
    ]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return (
        "--task-type",
        "story",
        "--prompts",
        path,
        "--size",
        "2*3",
        "--image-area",
        1024,
        "--max-new-tokens",
        60,
    )


def test_what_is_there_is_not_made_again_and_what_is_missing_is_made_the_same(generate, many, tmp_path):
    status, out, err = generate(*many)
    assert status == 0, err
    folder = tmp_path / "out/proto"
    assert [line.rpartition("/")[2] for line in out] == ["story_000.pb", "with picture.pb", "story_002.pb"]
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, out, err = generate(*many)
    assert (status, out) == (0, [])
    assert "nothing to do: all 3" in err
    (folder / "with picture.pb").unlink()
    (folder / "story_002.pb").unlink()
    before = (folder / "story_000.pb").stat().st_mtime_ns
    status, out, err = generate(*many)
    assert (status, len(out)) == (0, 2)
    assert "with picture (2 of 3)" in err
    assert (folder / "story_000.pb").stat().st_mtime_ns == before
    # the seed is the prompt's place in the file, whoever runs it and when
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    status, out, _ = generate(*many, "--overwrite")
    assert (status, len(out)) == (0, 3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_workers_share_the_prompts(generate, many, tmp_path):
    _, whole, _ = generate(*many)
    made = []
    for worker in range(2):
        status, out, err = generate(
            *many, "--num-workers", 2, "--worker-id", worker, output=tmp_path / "shared"
        )
        assert status == 0, err
        made += out
    assert sorted(made) == sorted(line.replace("/out/", "/shared/") for line in whole)
    for line in whole:
        with open(line, "rb") as alone, open(line.replace("/out/", "/shared/"), "rb") as shared:
            assert alone.read() == shared.read()


def test_a_seed_decides(generate, tmp_path):
    words = ("--task-type", "story", "--prompt", "tell of two", "--size", "2*3", "--max-new-tokens", 60)
    made = [
        generate(*words, "--seed", seed, output=tmp_path / name)[1][0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = (read(path) for path in made)
    assert first == again
    assert first != other


def test_each_prompt_has_a_seed_of_its_own(generate, tmp_path):
    path = tmp_path / "same.json"
    path.write_text(json.dumps(dict.fromkeys("ab", "tell of two")))
    words = ("--task-type", "story", "--prompts", path, "--size", "2*3", "--max-new-tokens", 60)
    first, second = (read(line) for line in generate(*words)[1])
    assert first.question == second.question
    assert first != second
    # the second is what its own seed gives
    (alone,) = generate(
        *words[:2], "--prompt", "tell of two", *words[4:], "--seed", 6667, output=tmp_path / "b"
    )[1]
    assert read(alone) == second


def test_a_file_that_answers_another_question_is_not_taken_for_the_answer(generate, many, tmp_path):
    generate(*many)
    path = tmp_path / "out/proto/story_000.pb"
    shutil.copy(tmp_path / "out/proto/story_002.pb", path)
    status, out, err = generate(*many)
    assert (status, out) == (2, [])
    assert "answers 'tell of three blocks' instead of 'tell of two blocks'" in err
    path.write_bytes(b"cut")
    status, _, err = generate(*many)
    assert status == 2
    assert "cannot be read as a story" in err


def test_one_prompt_after_another_gets_the_next_place(generate):
    names = []
    for words in ("one", "two", "one"):
        _, out, _ = generate("--task-type", "t2i", "--prompt", words, *GREEDY)
        names.append([line.rpartition("/")[2] for line in out])
    assert names == [["story_000.pb"], ["story_001.pb"], []]


def other_picture(path):
    write_picture(path, np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return path


def places(out):
    return [line.rpartition("/")[2] for line in out]


def test_the_same_words_about_another_picture_get_the_next_place(generate, picture, tmp_path):
    small = ("--image-area", 1536, "--max-new-tokens", 60)
    words = ("--task-type", "x2i", "--prompt", QUESTIONS["x2i"], *GREEDY[:-2], *small)
    other = other_picture(tmp_path / "other.png")
    made = [places(generate(*words, "--image", image)[1]) for image in (picture, other, picture, other)]
    assert made == [["story_000.pb"], ["story_001.pb"], [], []]
    held = unpack_picture(read(tmp_path / "out/proto/story_001.pb").reference_images[0].image)
    assert np.array_equal(held, read_picture(other))


def test_the_same_words_with_other_settings_get_the_next_place(generate, tiny, tmp_path):
    words = ("--task-type", "story", "--prompt", "tell of two", "--size", "2*3", "--max-new-tokens", 60)
    elsewhere = shutil.copytree(tiny, tmp_path / "elsewhere")
    asked = [
        {},
        {"--seed": 1},
        {"--size": "3*2"},
        {"--classifier-free-guidance": 2},
        {"checkpoint": elsewhere},
    ]
    for number, change in enumerate(asked):
        known = {"checkpoint": change["checkpoint"]} if "checkpoint" in change else {}
        flags = [word for name, value in change.items() if name != "checkpoint" for word in (name, value)]
        status, out, err = generate(*words, *flags, **known)
        assert (status, places(out)) == (0, [f"story_{number:03d}.pb"]), err
        status, out, err = generate(*words, *flags, **known)
        assert (status, out) == (0, [])
        assert "nothing to do" in err


def test_what_a_story_of_a_list_was_made_from_is_compared_and_told(generate, many, picture, tmp_path):
    generate(*many)
    folder = tmp_path / "out/proto"
    told = "story_000.pb is there, but was made with seed 6666 instead of 7; choose another --output, or"
    status, out, err = generate(*many, "--seed", 7)
    assert (status, out) == (2, [])
    assert told in err
    status, _, err = generate(*many, "--text-top-k", 3, "--force-same-image-size")
    assert status == 2
    assert "made with text_top_k 1024 instead of 3, force_same_image_size none instead of True" in err
    other_picture(picture)
    status, out, err = generate(*many)
    assert (status, out) == (2, [])
    assert f"with picture.pb is there, but was made from other pictures than {picture}" in err
    # a story of the published code has no record: words and pictures decide
    for path in folder.glob("*.json"):
        path.unlink()
    status, _, err = generate(*many, "--seed", 7)
    assert status == 2
    assert "other pictures" in err
    (folder / "with picture.pb").unlink()
    status, out, err = generate(*many, "--seed", 7)
    assert (status, places(out)) == (0, ["with picture.pb"]), err


def test_a_record_says_what_a_story_was_made_from(generate, many, tiny, tmp_path):
    generate(*many)
    path = tmp_path / "out/proto/story_002.json"
    record = json.loads(path.read_text())
    assert (record["task_type"], record["checkpoint"], record["seed"]) == ("story", str(tiny), 6668)
    assert record["settings"]["aspect_ratio"] == "2*3"
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        status, _, err = generate(*many)
        assert status == 2
        assert "story_002.json does not say what its story was made from" in err
    assert generate(*many, "--overwrite")[0] == 0
    assert json.loads(path.read_text()) == record


def test_a_run_killed_while_it_overwrites_leaves_no_old_story_with_a_new_record(
    generate, many, tmp_path, monkeypatch
):
    generate(*many)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("emu_planner.cli.generate.write", killed)
        assert generate(*many, "--seed", 7, "--overwrite")[0] == 130
    assert not (tmp_path / "out/proto/story_000.pb").exists()
    assert json.loads((tmp_path / "out/proto/story_000.json").read_text())["seed"] == 7


def test_a_story_that_cannot_be_made_does_not_stop_the_others(generate, many, picture, tmp_path):
    picture.write_bytes(b"no picture")
    status, out, err = generate(*many)
    assert status == 3
    assert [line.rpartition("/")[2] for line in out] == ["story_000.pb", "story_002.pb"]
    assert "with picture cannot be made" in err
    assert "seen.png cannot be read as a picture" in err
    status, out, err = generate(
        "--task-type", "t2i", "--prompt", "x", "--size", "99*99", output=tmp_path / "large"
    )
    assert (status, out) == (3, [])
    assert "story_000 cannot be made: a picture of 99*99 tokens takes" in err


def test_a_cut_story_is_told(generate):
    status, out, err = generate(
        "--task-type", "vla", "--prompt", QUESTIONS["vla"], *GREEDY, "--max-new-tokens", 14
    )
    assert status == 0
    assert "story_000 was cut: it reached its limit of 14 tokens" in err
    assert [clip.segments[0].asr for clip in read(out[0]).clips] == ["lift red"]


def test_wrong_input_is_told_before_a_model_is_loaded(generate, tmp_path):
    for words, told in (
        (("--task-type", "dance", "--prompt", "x"), "the task type is 'dance'"),
        (("--task-type", "x2i", "--prompt", "x"), "x2i edits pictures"),
        (
            ("--task-type", "t2i", "--prompt", "x", "--image", "nowhere.png"),
            "nowhere.png, which is not there",
        ),
        (("--task-type", "t2i", "--prompt", "x", "--size", "huge"), "the size 'huge' is none of"),
    ):
        status, out, err = generate(*words, checkpoint=tmp_path / "nothing")
        assert (status, out) == (2, []), words
        assert told in err
    status, _, err = generate("--task-type", "t2i", "--prompt", "x", checkpoint=tmp_path / "nothing")
    assert status == 2
    assert "no checkpoint" in err


def test_a_folder_that_cannot_be_written_is_told(generate, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = generate("--task-type", "t2i", "--prompt", "x", *GREEDY, output=tmp_path / "file")
    assert status == 2
    assert "file" in err


def test_what_a_model_writes_cannot_steer_a_terminal():
    assert shorten("a\x1b[2J\n  b\u202e\t\u4e24\u4e2a") == "a [2J b \u4e24\u4e2a"
    assert shorten("x" * 300) == "x" * 97 + "..."


def start(tiny, folder, prompts, *words):
    names = ("--checkpoint", str(tiny), "--output", str(folder), "--prompts", str(prompts))
    return start_cli("generate", "--task-type", "story", *names, *words)


def test_a_killed_run_leaves_whole_stories_and_goes_on(generate, tiny, tmp_path):
    prompts = tmp_path / "p.txt"
    prompts.write_text("".join(f"tell of {number} blocks\n" for number in range(6)))
    words = ("--size", "8*8", "--max-new-tokens", "200")
    with start(tiny, tmp_path / "killed", prompts, *words) as process:
        first = process.stdout.readline()
        process.kill()
    assert first.strip() == str(tmp_path / "killed/proto/story_000.pb"), process.stderr.read()
    whole = sorted(path.name for path in (tmp_path / "killed/proto").glob("*.pb"))
    for name in whole:
        assert read(tmp_path / "killed/proto" / name).question
    arguments = ("--task-type", "story", "--prompts", prompts, *words)
    status, out, err = generate(*arguments, output=tmp_path / "killed")
    assert status == 0, err
    assert len(out) == 6 - len(whole)
    _, uncut, _ = generate(*arguments, output=tmp_path / "uncut")
    for path in uncut:
        assert read(path) == read(path.replace("/uncut/", "/killed/"))


def test_ctrl_c_is_answered_in_words(tiny, tmp_path):
    prompts = tmp_path / "p.txt"
    prompts.write_text("tell of two blocks\ntell of three blocks\n")
    # a story of more tokens than the model writes before the signal comes
    with start(tiny, tmp_path / "out", prompts, "--size", "80*80", "--max-new-tokens", "7000") as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
    assert "story_000 (1 of 2)" in first
    assert process.returncode == 130
    assert "stopped; what is finished is written" in err
    assert "Traceback" not in err
    assert not out


def test_what_is_generated_can_be_viewed(generate, tmp_path, capsys):
    _, out, _ = generate("--task-type", "howto", "--prompt", QUESTIONS["howto"], *GREEDY)
    assert main(["view", str(tmp_path / "out"), "--output", str(tmp_path / "shown")]) == 0
    shown = tmp_path / "shown/proto/story_000"
    assert (shown / "001_text.txt").read_text() == "Lift the red block.\n"
    assert (shown / "001_00_image_cot.txt").read_text() == "the gripper is closed\n"
    # a file that was copied reads and writes as it is
    write(tmp_path / "copy.pb", read(out[0]))
    with open(out[0], "rb") as made:
        assert (tmp_path / "copy.pb").read_bytes() == made.read()


def test_wrong_input_needs_no_torch():
    code = (
        "import sys; from emu_planner.cli.main import main;"
        "print(main(['generate', '--task-type', 't2i', '--checkpoint', 'x', '--prompt', ' ']));"
        "print([m for m in ('torch', 'grpc', 'rclpy', 'pybullet') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2", "[]"]
    assert "the prompt of story_000 is empty" in done.stderr


def test_a_person_sees_a_bar_and_a_pipe_gets_paths_alone(tiny, tmp_path):
    master, slave = os.openpty()
    names = ("--checkpoint", tiny, "--output", tmp_path / "out", "--task-type", "story")
    command = [sys.executable, "-m", "emu_planner.cli.main", "generate", *map(str, names)]
    with subprocess.Popen(
        [*command, "--prompt", QUESTIONS["story"], *GREEDY],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONPATH": str(ROOT)},
    ) as process:
        os.close(slave)
        seen = b"".join(iter(lambda: read_terminal(master), b""))
        out, _ = process.communicate(timeout=90)
    os.close(master)
    assert process.returncode == 0, seen
    assert out == f"{tmp_path / 'out/proto/story_000.pb'}\n"
    shown = seen.decode()
    assert "story_000 (1 of 1)" in shown
    assert "of at most" in shown
    assert "Two blocks met." in shown
    assert "a picture of 48x32" in shown


def read_terminal(master):
    try:
        return os.read(master, 65536)
    except OSError:  # the other side is closed
        return b""
