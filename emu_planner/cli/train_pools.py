"""The pictures that a language model learns from, as codes: a run's episodes and its lessons."""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from emu_planner.cli.arguments import positive
from emu_planner.cli.train_parts import insist_on_same
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.training.coding import Coders
from emu_planner.training.episodes import encode_frames
from emu_planner.training.lessons import LessonPool
from emu_planner.training.stream import EpisodePool, Pool
from sim.data import EpisodeReader
from sim.lessons.data import LessonReader
from sim.shard_reader import ShardReader

# what --coders says when another run codes the pictures
_ELSEWHERE = "elsewhere"
# lessons that a run waits for: enough to learn a vocabulary from
_LESSONS_TO_START = 500

P = TypeVar("P", bound=Pool[Any])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many episodes are waited for, and who codes their pictures."""
    parser.add_argument(
        "--start-with", type=int, default=2000, metavar="EPISODES",
        help="how many to wait for while the simulator still writes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--episodes", type=positive, metavar="N",
        help="learn from the first N only, to see what more data is worth (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--codes", type=Path, metavar="FOLDER",
        help="codes of the pictures, kept for later runs with the same data (default: OUT/codes)",
    )  # fmt: skip
    parser.add_argument(
        "--coders", default="", metavar="DEVICES",
        help="devices, by commas: on each a process that codes pictures, as cuda:1,cuda:1; faster on a GPU "
        "than the training's own process, which does it without them; elsewhere: a run that is under way "
        "with the same --codes does it",
    )  # fmt: skip


@contextmanager
def both(
    args: argparse.Namespace, tokenizer: Path, vision: VisionTokenizer, *, codes_here: bool
) -> Iterator[tuple[EpisodePool, LessonPool | None]]:
    """The run's episodes and, with --lessons, its lessons; see below."""
    with ExitStack() as stack:
        pool = stack.enter_context(episodes(args, tokenizer, vision, codes_here=codes_here))
        if not args.lessons:
            yield pool, None
            return
        yield pool, stack.enter_context(lessons(args, tokenizer, vision, codes_here=codes_here))


@contextmanager
def episodes(
    args: argparse.Namespace, tokenizer: Path, vision: VisionTokenizer, *, codes_here: bool
) -> Iterator[EpisodePool]:
    """The run's episodes as codes; ends with the block, and tells how many there were.

    Args:
        codes_here: this process sees to it that pictures are coded; else another of the run does.
    """
    codes, reader = _codes(args, tokenizer), EpisodeReader(args.data)
    kind = partial(EpisodePool, most=args.episodes)
    with _coded(args, tokenizer, vision, kind, reader, codes, codes_here=codes_here) as pool:
        pool.wait(min(args.start_with, args.episodes or args.start_with))
        print(f"{len(pool)} episodes to begin with")
        yield pool
    print(f"{len(pool)} episodes at the end")


@contextmanager
def lessons(
    args: argparse.Namespace, tokenizer: Path, vision: VisionTokenizer, *, codes_here: bool
) -> Iterator[LessonPool]:
    """The run's lessons likewise; each of --coders has a second process for them."""
    codes = _codes(args, tokenizer)
    # shards of lessons have the names of those of episodes
    codes = codes.with_name(f"{codes.name}-lessons")
    reader = LessonReader(args.lessons)
    with _coded(args, tokenizer, vision, LessonPool, reader, codes, codes_here=codes_here) as pool:
        pool.wait(min(args.start_with, _LESSONS_TO_START))
        print(f"{len(pool)} lessons to begin with")
        yield pool
    print(f"{len(pool)} lessons at the end")


@contextmanager
def _coded(
    args: argparse.Namespace,
    tokenizer: Path,
    vision: VisionTokenizer,
    kind: Callable[..., P],
    reader: ShardReader[Any],
    codes: Path,
    *,
    codes_here: bool,
) -> Iterator[P]:
    """A pool whose pictures this process codes, or those that --coders names, or another process."""
    devices = [name for name in args.coders.split(",") if name]
    encode = None if devices or not codes_here else partial(encode_frames, vision)
    if _ELSEWHERE in devices and (len(devices) > 1 or args.codes is None):
        raise ValueError("--coders elsewhere stands alone, with --codes: the folder of the run that codes")
    if _ELSEWHERE in devices or not codes_here:
        devices = []
    with Coders(reader.folder, tokenizer, codes, devices) as coders:
        pool = kind(reader, encode, codes=codes, seed=args.seed, check=coders.check)
        yield pool
        pool.close()


def _codes(args: argparse.Namespace, tokenizer: Path) -> Path:
    """Where codes of this vision tokenizer are kept: those of two must not meet in one model.

    Raises:
        ValueError: the run in --out was begun with another one.
    """
    inner = tokenizer / "vision_tokenizer"
    digest = hashlib.sha256()
    for path in sorted((inner if inner.is_dir() else tokenizer).glob("*.safetensors")):
        digest.update(path.read_bytes())
    name = digest.hexdigest()[:16]
    insist_on_same(
        args.out / "vision_tokenizer.txt",
        name,
        f"the run in {args.out} was begun with another vision tokenizer than {tokenizer}; take a new --out",
    )
    folder: Path = args.codes or args.out / "codes"
    return folder / name
