"""Interleaved episodes for training: instruction, picture, subgoal, picture, ... in shards.

A shard is `shard-N.jsonl` (one record a line) beside `shard-N.frames` (its PNGs, one after the
other). Both appear whole or not at all, so a reader may begin while the writer still works, and
a writer that was stopped goes on where it was. Every record can be made again from its seed.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.errors import PlanError
from sim import language
from sim.oracle import MOST_STEPS, next_skill
from sim.scene import training_seed
from sim.tasks import FAMILIES, ROBOT, generator
from sim.world import World

Picture = NDArray[np.uint8]

EPISODES_A_SHARD = 100
# share of episodes in which something else happens before the oracle begins
PERTURBED = 0.25
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True)
class RecordedStep:
    """One subgoal: its words, and the skill that was carried out."""

    subgoal: str
    skill: str


@dataclass(frozen=True)
class Record:
    """One episode. Picture i is what the cameras saw before step i; the last one, after all.

    Any suffix is a valid plan: from picture i, the steps from i on.
    """

    family: str
    seed: int
    robot: str
    instruction: str
    steps: tuple[RecordedStep, ...]
    # skills carried out before the first picture
    before: tuple[str, ...]
    # where every object is at each picture: object -> "relation target"
    states: tuple[dict[str, str], ...]
    # (offset, length) of each picture's PNG in the shard's frames file
    pictures: tuple[tuple[int, int], ...]
    shard: str

    @property
    def frame_count(self) -> int:
        """How many pictures it has: one more than steps."""
        return len(self.pictures)


class EpisodeReader:
    """All finished shards of a folder.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; make episodes with: emu-planner data sim --out {folder}")
        self.folder = folder
        self._frames: dict[str, NDArray[np.uint8]] = {}

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self.folder.glob("shard-*.jsonl")):
            for line in path.read_text().splitlines():
                yield _from_json(json.loads(line))

    def frame(self, record: Record, index: int) -> Picture:
        """Picture `index` of a record: [H, W, 3] uint8, all views side by side."""
        if record.shard not in self._frames:
            path = self.folder / f"{record.shard}.frames"
            self._frames[record.shard] = np.memmap(path, dtype=np.uint8, mode="r")
        offset, length = record.pictures[index]
        picture = cv2.imdecode(self._frames[record.shard][offset : offset + length], cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{record.shard}.frames is damaged at byte {offset}; delete the shard, run data sim again")
        return np.ascontiguousarray(picture[:, :, ::-1])


def record_episode(world: World, family: str, seed: int) -> tuple[dict[str, Any], list[Picture]] | str:
    """One episode by the oracle, perturbed at first in some; or why it was dropped.

    Raises:
        ValueError: the seed belongs to the benchmark.
    """
    scene = world.reset(family, training_seed(seed))
    rng = generator(family, seed, "episode")
    before = _perturb(world, rng) if rng.random() < PERTURBED else []
    if before is None:
        return "perturbation failed"
    pictures, states, steps = [world.picture()], [_where(world)], []
    try:
        while (skill := next_skill(scene.goal, world.state())) is not None:
            if len(steps) == MOST_STEPS or not world.execute(skill).ok:
                return "skill failed"
            words = language.word_skill(skill, scene, int(rng.integers(60)))
            steps.append(RecordedStep(words, str(skill)))
            pictures.append(world.picture())
            states.append(_where(world))
    except PlanError:
        return "object out of reach"
    if not all(world.success().values()):
        return "not successful"
    return {
        "family": family, "seed": seed, "robot": ROBOT, "instruction": scene.instruction,
        "steps": [asdict(step) for step in steps], "before": before, "states": states,
    }, pictures  # fmt: skip


def write_episodes(
    folder: Path, *, episodes: int, first_seed: int, workers: int
) -> Iterator[tuple[int, Counter[str]]]:
    """Write shards, families in turn by seed; skips shards that are there.

    Yields:
        After each shard: how many shards are finished, and what became of its episodes.
    """
    training_seed(first_seed), training_seed(first_seed + episodes - 1)
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [
        (folder, first, min(EPISODES_A_SHARD, first_seed + episodes - first))
        for first in range(first_seed, first_seed + episodes, EPISODES_A_SHARD)
    ]
    left = [block for block in blocks if not _index(block).exists()]
    done = len(blocks) - len(left)
    yield done, Counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for counts in pool.imap_unordered(_write_shard, left):
            done += 1
            yield done, counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the data writer."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds count up from here")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")


def run(args: argparse.Namespace) -> int:
    """Write episodes; 0 when all shards are there."""
    begun_s, total, made = time.monotonic(), Counter[str](), 0
    shards = -(-args.episodes // EPISODES_A_SHARD)
    for done, counts in write_episodes(
        args.out, episodes=args.episodes, first_seed=args.first_seed, workers=args.workers
    ):
        total += counts
        made += sum(counts.values())
        rate = made / (time.monotonic() - begun_s)
        sys.stderr.write(f"\rshard {done}/{shards}  {rate:.1f} episodes/s  {dict(total)}   ")
    sys.stderr.write("\n")
    return 0


def _write_shard(block: tuple[Path, int, int]) -> Counter[str]:
    folder, first, count = block
    index = _index(block)
    frames = index.with_suffix(".frames")
    counts: Counter[str] = Counter()
    families = list(FAMILIES)
    lines, offset = [], 0
    with World() as world, frames.with_suffix(".frames.part").open("wb") as file:
        for seed in range(first, first + count):
            made = record_episode(world, families[seed % len(families)], seed)
            if isinstance(made, str):
                counts[made] += 1
                continue
            record, pictures = made
            places = []
            for picture in pictures:
                png = cv2.imencode(".png", picture[:, :, ::-1], _PNG)[1].tobytes()
                places.append((offset, len(png)))
                offset += file.write(png)
            lines.append(json.dumps({**record, "pictures": places, "shard": index.stem}))
            counts["recorded"] += 1
    os.replace(frames.with_suffix(".frames.part"), frames)
    part = index.with_suffix(".jsonl.part")
    part.write_text("".join(line + "\n" for line in lines))
    os.replace(part, index)
    return counts


def _index(block: tuple[Path, int, int]) -> Path:
    return block[0] / f"shard-{block[1]:09d}.jsonl"


def _perturb(world: World, rng: np.random.Generator) -> list[str] | None:
    """One to three random legal skills; None when one of them failed."""
    done = []
    for _ in range(int(rng.integers(1, 4))):
        legal = world.legal_skills()
        skill = legal[int(rng.integers(len(legal)))]
        if not world.execute(skill).ok:
            return None
        done.append(str(skill))
    return done


def _where(world: World) -> dict[str, str]:
    return {fact.object: f"{fact.relation} {fact.target}".strip() for fact in world.state().where}


def _from_json(row: dict[str, Any]) -> Record:
    return Record(
        row["family"],
        row["seed"],
        row["robot"],
        row["instruction"],
        tuple(RecordedStep(**step) for step in row["steps"]),
        tuple(row["before"]),
        tuple(row["states"]),
        tuple((offset, length) for offset, length in row["pictures"]),
        row["shard"],
    )


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="write interleaved episodes from the simulator")
    add_arguments(_parser)
    sys.exit(run(_parser.parse_args()))
