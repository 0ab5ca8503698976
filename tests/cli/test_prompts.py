"""Prompts from files of each kind, and what is said about wrong ones."""

import json

import pytest

from emu_planner.cli.prompts import Prompt, make_prompts, read_prompts
from emu_planner.cli.typed_file import SettingError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_file_has_a_prompt_a_line(folder):
    path = written(folder, "p.txt", "\ufefffirst one\n\n  second, \u4e24\u4e2a \r\n# third\n")
    assert read_prompts(path) == [
        Prompt("story_000", "first one", (), 0),
        Prompt("story_001", "second, \u4e24\u4e2a", (), 1),
        Prompt("story_002", "# third", (), 2),
    ]


def test_json_lines_carry_pictures_that_lie_beside_the_file(folder):
    lines = [
        '"plain"',
        '{"prompt": "one", "reference_image": "a.png"}',
        '{"prompt": "two\\u2028lines", "reference_image": ["a.png", "b.png"], "name": "mine"}',
    ]
    assert read_prompts(written(folder, "p.jsonl", "\n".join(lines) + "\n")) == [
        Prompt("story_000", "plain", (), 0),
        Prompt("story_001", "one", (folder / "a.png",), 1),
        Prompt("mine", "two\u2028lines", (folder / "a.png", folder / "b.png"), 2),
    ]


def test_json_is_a_list_or_a_table_of_names(folder):
    both = [{"prompt": "one", "reference_image": "a.png"}, "two"]
    listed = read_prompts(written(folder, "list.json", json.dumps(both)))
    assert [prompt.name for prompt in listed] == ["story_000", "story_001"]
    named = read_prompts(written(folder, "table.json", json.dumps(dict(zip("xy", both, strict=True)))))
    assert [(prompt.name, prompt.words, prompt.index) for prompt in named] == [
        ("x", "one", 0),
        ("y", "two", 1),
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.csv", "a", "ends in '.csv'; expected one of"),
        ("p.txt", "\n \n", "holds no prompt"),
        ("p.json", "{", "is no JSON"),
        ("p.json", "3", "holds 3, a whole number; expected a list of prompts"),
        ("p.json", "[3]", "prompt 1 is 3, a whole number; expected text, or a table"),
        ("p.json", "{}", "holds no prompt"),
        ("p.jsonl", '"a"\n{"prompt"}\n', "line 2 is no JSON"),
        ("p.jsonl", '{"promt": "a"}', "unknown key 'promt'; the nearest known one is 'prompt'"),
        (
            "p.jsonl",
            '{"prompt": "a", "images": []}',
            "unknown key 'images'; here it is called 'reference_image'",
        ),
        ("p.jsonl", '{"reference_image": "a.png"}', "prompt 1 has no 'prompt'; it has"),
        ("p.jsonl", '{"prompt": 3}', "prompt is 3, a whole number; expected text"),
        ("p.jsonl", '{"prompt": "a", "reference_image": 3}', "expected text, or a list of texts"),
        ("p.jsonl", '{"prompt": "a", "reference_image": "c.png"}', "c.png, which is not there"),
        ("p.jsonl", '{"prompt": "a", "name": "../x"}', "'../x' is no name for a file"),
        (
            "p.jsonl",
            '{"prompt": "a", "name": "A"}\n{"prompt": "b", "name": "a"}',
            "1 and 2 are both named 'a'",
        ),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": " "}', "prompt of story_001 is empty"),
        ("p.jsonl", '"\\ud800"', "no valid Unicode"),
    ],
)
def test_wrong_prompts_are_told_in_words(folder, name, text, told):
    with pytest.raises(SettingError) as caught:
        read_prompts(written(folder, name, text))
    assert told in str(caught.value)


def test_files_that_are_missing_or_no_text_are_told_in_words(folder):
    with pytest.raises(SettingError, match="there is no prompts file"):
        read_prompts(folder / "nothing.txt")
    (folder / "p.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match="no UTF-8"):
        read_prompts(folder / "p.txt")


@pytest.mark.parametrize("name", [".hidden", "a/b", "a\\b", "", "x" * 300, "a\n", "-x"])
def test_names_are_names_of_files(folder, name):
    with pytest.raises(SettingError, match="no name for a file"):
        make_prompts({name: "words"}, folder, "here")


def test_published_names_are_names(folder):
    names = ["story_000", "0001", "a b-c.d", "\u6545\u4e8b"]
    prompts = make_prompts(dict.fromkeys(names, "words"), folder, "here")
    assert [prompt.name for prompt in prompts] == names
