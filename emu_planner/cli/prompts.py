"""What is to be generated: prompts with their pictures, from text, JSON and JSON Lines.

A prompt is text, or {"prompt": text, "reference_image": file or files, "name": file name}; several
are a list, or a table from names to prompts (the published forms). Without names they are
story_000, story_001, ... Pictures lie relative to the file that names them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu_planner.cli.typed_file import SettingError, check_names, check_value, describe

SUFFIXES = (".txt", ".json", ".jsonl")
_KEYS = {"prompt": str, "reference_image": tuple[str, ...], "name": str}
_OTHERS = dict.fromkeys(
    ("image", "images", "reference_images", "picture"), "reference_image"
) | dict.fromkeys(("question", "text", "task", "instruction"), "prompt")
_NAME = re.compile(r"[^\W_][\w .,+=@-]{0,150}")


@dataclass(frozen=True)
class Prompt:
    """One story to generate."""

    # of its file, without ending
    name: str
    words: str
    images: tuple[Path, ...] = ()
    # its place in the whole list, which its seed depends on
    index: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                f"the name {self.name!r} is no name for a file here; expected letters, digits, spaces and "
                "-_.,+=@, a letter or digit first"
            )
        if not self.words.strip():
            raise SettingError(f"the prompt of {self.name} is empty; say in words what to generate")
        try:
            self.words.encode()
        except UnicodeEncodeError as error:
            raise SettingError(f"the prompt of {self.name} is no valid Unicode text: {error}") from error
        for image in self.images:
            if not image.is_file():
                raise SettingError(f"the prompt of {self.name} names the picture {image}, which is not there")


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts in a file: one a line (.txt), JSON (.json), or JSON a line (.jsonl).

    Raises:
        SettingError: there is no such file, it is not of its kind, or a prompt in it is wrong.
    """
    if path.suffix not in SUFFIXES:
        raise SettingError(f"{path} ends in {path.suffix!r}; expected one of {list(SUFFIXES)}")
    if not path.is_file():
        raise SettingError(f"there is no prompts file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no UTF-8 text: {error}") from error
    if path.suffix == ".json":
        return make_prompts(_parse(text, str(path)), path.parent, str(path))
    # lines end at \n alone: other marks that end lines may stand inside a prompt
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if path.suffix == ".txt":
        return make_prompts([line for _, line in lines], path.parent, str(path))
    parsed = [_parse(line, f"{path} line {number}") for number, line in lines]
    return make_prompts(parsed, path.parent, str(path))


def make_prompts(values: Any, folder: Path, where: str) -> list[Prompt]:
    """Prompts from a list, or from a table of names.

    Args:
        values: see the module's text.
        folder: where pictures are looked for.
        where: what they stand in, for messages.

    Raises:
        SettingError: there is none, one is wrong, or two have one name.
    """
    if isinstance(values, dict):
        named = [(str(name), value) for name, value in values.items()]
    elif isinstance(values, list):
        named = [(f"story_{index:03d}", value) for index, value in enumerate(values)]
    else:
        raise SettingError(
            f"{where} holds {describe(values)}; expected a list of prompts, or a table of them"
        )
    if not named:
        raise SettingError(f"{where} holds no prompt")
    prompts = [_make(name, value, index, folder, where) for index, (name, value) in enumerate(named)]
    _check_names_differ(prompts, where)
    return prompts


def _make(name: str, value: Any, index: int, folder: Path, where: str) -> Prompt:
    where = f"{where}: prompt {index + 1}"
    if isinstance(value, str):
        return Prompt(name, value, index=index)
    if not isinstance(value, dict):
        raise SettingError(f"{where} is {describe(value)}; expected text, or a table with 'prompt'")
    check_names(value, _KEYS, where, _OTHERS)
    if "prompt" not in value:
        raise SettingError(f"{where} has no 'prompt'; it has {sorted(value)}")
    checked = {key: check_value(key, value[key], _KEYS[key], where) for key in value}
    images = tuple(folder / image for image in checked.get("reference_image", ()))
    return Prompt(checked.get("name", name), checked["prompt"], images, index)


def _check_names_differ(prompts: Sequence[Prompt], where: str) -> None:
    seen: dict[str, int] = {}
    for prompt in prompts:
        # some file systems take a and A for one name
        other = seen.setdefault(prompt.name.casefold(), prompt.index)
        if other != prompt.index:
            raise SettingError(
                f"{where}: prompts {other + 1} and {prompt.index + 1} are both named {prompt.name!r}"
            )


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingError(f"{where} is no JSON: {error}") from error
