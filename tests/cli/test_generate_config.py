"""Settings of `generate` from flags and from files."""

import argparse
import re
from pathlib import Path

import pytest

from emu_planner.cli.generate import add_arguments
from emu_planner.cli.generate_config import read_config
from emu_planner.cli.prompts import Prompt
from emu_planner.cli.typed_file import SettingError
from emu_planner.engine.request import SETTINGS, RequestError

YAML = """
task_type: story
checkpoint: BAAI/Emu3.5
vision: BAAI/Emu3.5-VisionTokenizer
prompts: many.txt
seed: 7
classifier_free_guidance: 4
image_area: 262144
sampling_params:
  text_top_k: 200
  text_top_p: 0.8
"""
TOML = """
task_type = "x2i"
checkpoint = "weights/emu"
aspect_ratio = "16:9"
force_same_image_size = false
prompts = [{prompt = "make it red", reference_image = ["a.png"]}]
"""


def config_of(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_config(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "many.txt").write_text("one\ntwo\n")
    (tmp_path / "a.png").touch()
    return tmp_path


def written(folder, text, name="c.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_flags_alone_are_enough():
    config = config_of(
        *(
            "--task-type",
            "story",
            "--checkpoint",
            "x/emu",
            "--prompt",
            "a tale",
            "--text-top-k",
            "5",
            "--size",
            "9:16",
        )
    )
    settings = config.settings(SETTINGS["story"])
    assert (settings.text_top_k, settings.aspect_ratio) == (5, "9:16")
    # the others are the task's
    assert settings.image_top_k == SETTINGS["story"].image_top_k
    assert str(config.folder) == "outputs/emu/story"
    assert config.all_prompts() == [Prompt("story_000", "a tale")]


def test_a_yaml_file_with_the_published_names(folder):
    config = config_of("--config", written(folder, YAML))
    settings = config.settings(SETTINGS["story"])
    assert (config.seed, config.vision) == (7, "BAAI/Emu3.5-VisionTokenizer")
    assert (settings.classifier_free_guidance, settings.text_top_k, settings.text_top_p) == (4.0, 200, 0.8)
    assert settings.image_area == 262144
    assert [prompt.words for prompt in config.all_prompts()] == ["one", "two"]
    assert str(config.folder) == "outputs/Emu3.5/story"


def test_a_toml_file_may_hold_the_prompts(folder):
    config = config_of("--config", written(folder, TOML, "c.toml"))
    settings = config.settings(SETTINGS["x2i"])
    assert (settings.aspect_ratio, settings.force_same_image_size) == ("16:9", False)
    assert config.all_prompts() == [Prompt("story_000", "make it red", (folder / "a.png",))]


def test_flags_go_before_the_file(folder):
    file = written(folder, YAML)
    words = ("--text-top-k", "9", "--seed", "8", "--prompt", "other", "--image", "b.png", "--output", "o")
    assert config_of("--config", file).graphs is None
    config = config_of("--config", file, "--graphs", *words)
    assert config.graphs is True
    recorded = written(folder, "graphs: true\n" + YAML, "recorded.yaml")
    assert config_of("--config", recorded).graphs is True
    assert config_of("--config", recorded, "--no-graphs").graphs is False
    assert config.settings(SETTINGS["story"]).text_top_k == 9
    assert (config.seed, config.prompt, config.prompts, config.image) == (8, "other", None, ("b.png",))
    assert str(config.folder) == "o"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sede: 3", "unknown key 'sede'; the nearest known one is 'seed'"),
        ("text_topk: 3", "unknown key 'text_topk'; the nearest known one is 'text_top_k'"),
        ("model_path: x", "unknown key 'model_path'; here it is called 'checkpoint'"),
        ("sampling_params: {top_q: 3}", "sampling_params: unknown key 'top_q'; the nearest known one is"),
        ("sampling_params: {seed: 3}", "sampling_params: unknown key 'seed'"),
        ("sampling_params: 3", "no table of names"),
        ("text_top_k: 1\nsampling_params: {text_top_k: 1}", "stand beside sampling_params and inside it"),
        ("seed: '3'", "seed is '3', text; expected a whole number"),
        ("seed: true", "seed is True, true or false; expected a whole number"),
        ("image_top_p: high", "image_top_p is 'high', text; expected a number"),
        ("aspect_ratio: 16:9", "aspect_ratio is 969, a whole number; expected text; write it in quotes"),
        ("image: {a: b}", "image is a table of names and values; expected text, or a list"),
        ("image_top_p: 1.5", "image_top_p 1.5"),
        ("aspect_ratio: '5:5:5'", "the size '5:5:5' is none of"),
        ("worker_id: 1", "worker_id is 1 of num_workers 1"),
        ("seed: -1", "seed is -1"),
        ("decoder: diffusion", "the decoder is 'diffusion'; expected one of ['raster', 'jacobi', 'dida']"),
        ("graphs: 1", "graphs is 1, a whole number; expected true or false"),
        ("[1, 2]", "holds a list, expected names"),
        ("a: [", "is no YAML"),
        ("task_type: dance", "the task type is 'dance'; expected one of ['t2i'"),
        ("checkpoint: ''", "no checkpoint is given"),
        ("prompt: x", "several are given of --prompt, --prompts"),
        ("image: a.png", "stand beside each as reference_image"),
        ("prompts: nothing.txt", "there is no prompts file"),
        ("prompts: []", "holds no prompt"),
        ("task_type: x2i", "x2i edits pictures, and story_000 has none"),
    ],
)
def test_wrong_settings_are_told_in_words(folder, text, told):
    lines = [] if text.startswith("[") or text == "a: [" else YAML.strip().splitlines()
    names = {line.split(":")[0] for line in text.splitlines()}
    if "sampling_params" in names:
        lines = [line for line in lines if not line.startswith(" ")]
    kept = [line for line in lines if line.split(":")[0] not in names]
    path = written(folder, "\n".join([*kept, text]))
    with pytest.raises((SettingError, RequestError)) as caught:
        config_of("--config", path).all_prompts()
    assert told in str(caught.value)


def test_wrong_files_and_flags_are_told_in_words(folder):
    for words, told in (
        (("--config", folder / "nothing.yaml"), "there is no settings file"),
        (("--config", folder / "many.txt"), "ends in '.txt'; expected one of ['.toml', '.yaml', '.yml']"),
        (("--config", written(folder, "a = ", "bad.toml")), "is no TOML"),
        ((), "the task type is ''; expected one of"),
        (("--task-type", "t2i"), "no checkpoint is given"),
        (("--task-type", "t2i", "--checkpoint", "x"), "none is given of --prompt"),
    ):
        with pytest.raises(SettingError) as caught:
            config_of(*words)
        assert told in str(caught.value)


def test_too_many_pictures_are_told_before_a_model_is_loaded(folder):
    four = [word for _ in range(4) for word in ("--image", folder / "a.png")]
    config = config_of("--task-type", "x2i", "--checkpoint", "x", "--prompt", "p", *four)
    with pytest.raises(SettingError, match="story_000 has 4 pictures; the model takes at most 3"):
        config.all_prompts()


def test_the_documented_settings_file_is_valid(folder):
    text = (Path(__file__).parents[2] / "docs/generate.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (folder / "astronaut.png").touch()
    config = config_of("--config", written(folder, example))
    assert config.settings(SETTINGS["story"]).aspect_ratio == "16:9"
    assert [len(prompt.images) for prompt in config.all_prompts()] == [0, 1]
    flags = set(re.findall(r" (--[a-z][a-z-]+)", text)) - {"--video", "--help"}
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert flags <= {flag for action in parser._actions for flag in action.option_strings}
