"""`emu-planner generate`: prompts in, stories out, for the six tasks of Emu3.5.

Each story is one file, written when it is whole; what is there already is not made again. So the
same command, run again after a crash, goes on where it was.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from emu_planner.cli.arguments import positive
from emu_planner.cli.generate_config import GenerateConfig, add_sampling_arguments, read_config
from emu_planner.cli.generate_progress import Shown, shorten
from emu_planner.cli.generate_record import difference, record_of, write_record
from emu_planner.cli.model import (
    add_decoder_argument,
    are_recorded,
    find_devices,
    follow_first,
    join_others,
    loading_bar,
)
from emu_planner.cli.pictures import read_picture
from emu_planner.cli.prompts import Prompt
from emu_planner.engine import parts
from emu_planner.engine.request import SETTINGS, Request, RequestError
from emu_planner.plan import PlanError
from emu_planner.story import Draft, StoryError, write

if TYPE_CHECKING:
    from emu_planner.engine.generator import Generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand; those not given are None, so that a settings file counts."""
    parser.epilog = (
        "Exit status: 0 all stories are there, 2 wrong input, 3 some story could not be made, 130 stopped by "
        "Ctrl-C. How to run each task: docs/generate.md."
    )
    parser.add_argument("--task-type", metavar="|".join(SETTINGS), help="what to generate")
    parser.add_argument("--prompt", metavar="TEXT", help="what is asked, in words")
    parser.add_argument(
        "--image", action="append", metavar="FILE", help="a picture that goes with --prompt; up to 3"
    )
    parser.add_argument(
        "--prompts", metavar="FILE", help="many prompts: .txt (one a line), .json or .jsonl (with pictures)"
    )
    parser.add_argument("--config", metavar="FILE", help="settings, .yaml or .toml; flags go before them")
    parser.add_argument("--checkpoint", metavar="FOLDER|HUB-ID", help="the model, as BAAI/Emu3.5")
    parser.add_argument(
        "--vision", metavar="FOLDER|HUB-ID", help="the vision tokenizer, where it lies apart from the model"
    )
    parser.add_argument(
        "--tokenizer", metavar="FOLDER|HUB-ID", help="the text tokenizer's files, where they lie apart"
    )
    parser.add_argument(
        "--output", metavar="DIR", help="stories become DIR/proto/NAME.pb (default: outputs/CHECKPOINT/TASK)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the first prompt; the next has N + 1 (default: 6666)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", default=None, help="make stories again that are there"
    )
    parser.add_argument("--num-workers", type=positive, metavar="N", help="processes that share the prompts")
    parser.add_argument("--worker-id", type=int, metavar="I", help="which of them this is: 0 to N-1")
    parser.add_argument(
        "--device",
        metavar="DEVICE[,DEVICE...]",
        help="auto (a GPU if there is one; all of them for a model that does not fit), cpu, cuda, cuda:N, "
        "or several to spread the layers over: cuda:0,cuda:1 (default: auto)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads of the model (default: 1)")
    add_decoder_argument(parser)
    add_sampling_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Generate what is missing. Statuses: see add_arguments."""
    try:
        return _run(args)
    except KeyboardInterrupt:
        _say("stopped; what is finished is written, and the same command goes on from there")
        return 130


def _run(args: argparse.Namespace) -> int:
    try:
        config = read_config(args)
        work = plan_work(config)
        if not work.prompts:
            _say(f"nothing to do: all {work.finished} are in {work.folder}; --overwrite makes them again")
            return 0
        work.folder.mkdir(parents=True, exist_ok=True)
        generator = _load(config)
    except (OSError, ValueError) as error:
        _say(str(error))
        return 2
    try:
        failed = _generate_all(generator, config, work)
    except OSError as error:
        _say(f"{error}; what was finished before is written, and the same command goes on from there")
        return 3
    _say(f"show them: emu-planner view {work.folder}")
    return 3 if failed else 0


@dataclass(frozen=True)
class Work:
    """What is left to do."""

    folder: Path
    # still to be generated, in order
    prompts: Sequence[Prompt]
    # how many stories were there
    finished: int

    def file(self, prompt: Prompt) -> Path:
        """Where a prompt's story goes."""
        return self.folder / f"{prompt.name}.pb"


def plan_work(config: GenerateConfig) -> Work:
    """Which prompts are to be generated; those whose story is there are not.

    Raises:
        SettingError: a prompt is wrong. StoryError: a file that is there answers another request.
        ValueError: a picture of a prompt whose story is there cannot be read.
    """
    folder = config.folder / "proto"
    prompts = config.all_prompts()
    if config.prompt is not None and not config.overwrite:
        prompts = [_find_place(folder, config, prompts[0])]
    prompts = prompts[config.worker_id :: config.num_workers]
    left = []
    for prompt in prompts:
        path = folder / f"{prompt.name}.pb"
        if config.overwrite or not path.exists():
            left.append(prompt)
            continue
        if differs := difference(path, config, prompt):
            raise StoryError(f"{path} is there, but {differs}; choose another --output, or --overwrite it")
    return Work(folder, left, len(prompts) - len(left))


def _find_place(folder: Path, config: GenerateConfig, prompt: Prompt) -> Prompt:
    """The one prompt under the first of story_000, story_001, ... that is free, or answers it already."""
    for number in itertools.count():
        path = folder / f"story_{number:03d}.pb"
        if not path.exists() or not difference(path, config, prompt):
            return replace(prompt, name=path.stem)
    raise AssertionError("names do not end")


def collect(part: parts.Part, draft: Draft) -> str:
    """Put a part into the draft; returns what to tell a person who waits, nothing for progress."""
    if isinstance(part, parts.GlobalThought):
        draft.think(part.text)
        return f"thought: {shorten(part.text)}"
    if isinstance(part, parts.Words):
        draft.tell(part.text)
        return shorten(part.text)
    if isinstance(part, parts.ImageThought):
        draft.think_of_picture(part.text)
        return f"thought: {shorten(part.text)}"
    if isinstance(part, parts.Picture):
        draft.draw(part.rgb)
        height, width = part.rgb.shape[:2]
        return f"a picture of {width}x{height}"
    return ""


def _load(config: GenerateConfig) -> "Generator":
    """The generator. CheckpointError, a ValueError: there is no such checkpoint or device."""
    import torch

    from emu_planner.engine.generator import Generator

    sharing = join_others(config.device, config.share, graphs=bool(config.graphs))
    if sharing is None:
        devices = find_devices(config.device, config.checkpoint, fp8=config.fp8)
    else:
        devices = [str(sharing.ranks.device)]
    torch.set_num_threads(config.threads)
    with loading_bar(Console(stderr=True)) as progress:
        generator = Generator.load(
            config.checkpoint,
            vision=config.vision,
            tokenizer=config.tokenizer,
            device=devices[0] if len(devices) == 1 else devices,
            decoder=config.decoder,
            graphs=are_recorded(devices, asked=config.graphs, proven=sharing is None and not config.fp8),
            progress=progress,
            fp8=config.fp8,
            sharing=sharing,
        )
    if sharing is not None and not sharing.ranks.leads:
        follow_first(generator, sharing)
    return generator


def _generate_all(generator: "Generator", config: GenerateConfig, work: Work) -> int:
    """Generate story after story; returns how many could not be made. OSError: one cannot be written."""
    import torch

    from emu_planner.engine.cache import ContextFullError

    failed = 0
    # of the checkpoint where it has its own, else of the task
    settings = config.settings(generator.settings[config.task_type])
    shown = Shown(work.finished, work.finished + len(work.prompts))
    with shown:
        for prompt in work.prompts:
            try:
                request = Request(config.task_type, prompt.words, _look(prompt), settings)
                draft = _generate(generator, request, config.seed + prompt.index, prompt.name, shown)
            except (RequestError, StoryError, ContextFullError, PlanError, torch.OutOfMemoryError) as error:
                shown.say(f"{prompt.name} cannot be made: {error}")
                failed += 1
                continue
            write_record(work.file(prompt), record_of(config, prompt))
            write(work.file(prompt), draft.story())
            print(work.file(prompt), flush=True)
    return failed


def _look(prompt: Prompt) -> tuple[NDArray[np.uint8], ...]:
    """The prompt's pictures. RequestError: one cannot be read."""
    try:
        return tuple(read_picture(image) for image in prompt.images)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _generate(generator: "Generator", request: Request, seed: int, name: str, shown: Shown) -> Draft:
    draft = Draft(request.prompt, request.images)
    assert request.settings is not None
    shown.begin(name, request.settings.max_new_tokens)
    ended = parts.Progress(0, 1)
    for part in generator.generate(request, seed=seed):
        if isinstance(part, parts.Progress):
            ended = part
            shown.advance(part.tokens, part.limit)
        elif words := collect(part, draft):
            shown.tell(words)
    if ended.tokens >= ended.limit:
        shown.say(f"{name} was cut: it reached its limit of {ended.limit} tokens (max_new_tokens)")
    if not draft.story().clips:
        shown.say(f"{name} is empty: the model ended after {ended.tokens} tokens without words or a picture")
    return draft


def _say(words: str) -> None:
    print(f"emu-planner generate: {words}", file=sys.stderr)
