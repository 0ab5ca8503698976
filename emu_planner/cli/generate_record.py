"""What a story was made from, kept beside it: a story that is there is skipped only if it is the answer.

NAME.json beside NAME.pb holds the task, the checkpoint, the seed and the sampling settings as they
were asked for. The story itself holds the words and the pictures; one without such a file, as
the published code writes it, is judged by them alone. Needs no torch.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from emu_planner.cli.generate_config import GenerateConfig
from emu_planner.cli.generate_progress import shorten
from emu_planner.cli.pictures import read_picture
from emu_planner.cli.prompts import Prompt
from emu_planner.engine.request import SETTINGS
from emu_planner.story import Story, StoryError, read, unpack_picture
from emu_planner.story.files import replace_file


def record_path(story: Path) -> Path:
    """Where the record of a story file is."""
    return story.with_name(f"{story.name.removesuffix('.pb')}.json")


def record_of(config: GenerateConfig, prompt: Prompt) -> dict[str, Any]:
    """What decides the story, beside the prompt's words and pictures; values as JSON has them.

    What runs the model is not in it: it gives the same story. Of the decoder it holds only whether
    images were refined, as dida does: all others give the same. The settings of vla and a decoder that
    was not asked for come from the checkpoint, which is named: only what was asked for is in it.
    """
    checkpoint = Path(config.checkpoint).expanduser()
    settings = config.sampling
    if config.task_type != "vla":
        settings = asdict(config.settings(SETTINGS[config.task_type]))
    return {
        "task_type": config.task_type,
        "checkpoint": str(checkpoint.resolve()) if checkpoint.is_dir() else config.checkpoint,
        "seed": config.seed + prompt.index,
        "settings": dict(settings),
        "refined": config.decoder == "dida",
    }


def write_record(story: Path, record: dict[str, Any]) -> None:
    """Write the record of a story that is about to be written. OSError: the folder cannot be written.

    An old story goes first: killed after this, none is there, not an old one with a new record.
    """
    story.unlink(missing_ok=True)
    replace_file(record_path(story), (json.dumps(record, indent=2) + "\n").encode())


def difference(path: Path, config: GenerateConfig, prompt: Prompt) -> str:
    """What the story in a file has that was not asked for, as words after "it"; empty: it is the answer.

    Raises:
        StoryError: the story or its record cannot be read. ValueError: a picture of the prompt cannot.
    """
    story = read(path)
    if story.question != prompt.words:
        return f"answers {shorten(story.question)!r} instead of {shorten(prompt.words)!r}"
    if not _same_pictures(story, prompt):
        shown = ", ".join(str(image) for image in prompt.images) or "none"
        return f"was made from other pictures than {shown}"
    stored = _read_record(record_path(path))
    asked = _flatten(record_of(config, prompt))
    # a name that only one of them has came or went with a version
    wrong = [name for name in asked if name in stored and stored[name] != asked[name]]
    if not wrong:
        return ""
    told = ", ".join(f"{name} {_word(stored[name])} instead of {_word(asked[name])}" for name in wrong)
    return f"was made with {told}"


def _same_pictures(story: Story, prompt: Prompt) -> bool:
    """Whether the story's reference pictures have the pixels of the prompt's; however compressed."""
    if len(story.reference_images) != len(prompt.images):
        return False
    for meta, image in zip(story.reference_images, prompt.images, strict=True):
        try:
            stored = None if meta.image is None else unpack_picture(meta.image)
        except StoryError:
            return False
        if stored is None or not np.array_equal(stored, read_picture(image)):
            return False
    return True


def _read_record(path: Path) -> dict[str, Any]:
    """A record, flat; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        return _flatten(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise StoryError(
            f"{path} does not say what its story was made from ({error}); remove it, or --overwrite both"
        ) from error


def _flatten(record: dict[str, Any]) -> dict[str, Any]:
    """The settings beside the others."""
    return {**{name: value for name, value in record.items() if name != "settings"}, **record["settings"]}


def _word(value: Any) -> str:
    return "none" if value is None else str(value)
