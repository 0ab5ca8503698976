"""Write and read interleaved episodes: instruction, picture, subgoal, picture, subgoal, ...

    python -m sim.data --out DIR --episodes N --first-seed S --workers W --robot NAME|all \
        --families all|NAME,... --steps executed|imagined

A shard is two files: shard-XXXXX.frames, the pictures as PNG one after the other, and
shard-XXXXX.jsonl, one record a line with the offsets. The .jsonl appears last and whole, so a
reader may begin while the writer works, and a writer that is started again goes on where it was.
Shard k holds the seeds first + k * 50 onwards; families take turns by seed, and robots by round of
families.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sim import digest, robots
from sim.episode import STEPS, Episode, ImperfectError, record
from sim.scene import Fact, Skill, training_seed
from sim.state import SymbolicState
from sim.tasks import FIRST, chosen, robots_for, trained_robots
from sim.world import World

SHARD_SEEDS = 50
_COUNTS = "counts.json"  # written last


@dataclass(frozen=True)
class Record:
    """One episode on disk. Any suffix of it is a valid sample: see `suffix`."""

    shard: str
    family: str
    seed: int
    robot: str
    instruction: str
    # number of the first step that is left (0: the whole episode)
    start: int
    subgoals: tuple[str, ...]
    skills: tuple[Skill, ...]
    # (offset, length) in the shard's .frames file; one more than subgoals
    frames: tuple[tuple[int, int], ...]
    # symbolic state at each frame
    states: tuple[SymbolicState, ...]
    detour: tuple[Skill, ...]
    success: dict[str, bool]

    def suffix(self, step: int) -> "Record":
        """The same episode, seen from step `step` on. ValueError: no such step."""
        if not 0 <= step <= len(self.subgoals):
            raise ValueError(f"step {step} of an episode with {len(self.subgoals)} steps")
        return replace(
            self,
            start=self.start + step,
            subgoals=self.subgoals[step:],
            skills=self.skills[step:],
            frames=self.frames[step:],
            states=self.states[step:],
        )


class EpisodeReader:
    """Iterates the records of all finished shards, in order; new shards show up in a new pass."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; write episodes there with sim.data")

    def __iter__(self) -> Iterator[Record]:
        for shard in self.shards():
            yield from self.records(shard)

    def shards(self) -> list[str]:
        """Names of the finished shards, in order."""
        return sorted(path.stem for path in self.folder.glob("shard-*.jsonl"))

    @property
    def finished(self) -> bool:
        """Whether the writer has written all that it was asked for."""
        return (self.folder / _COUNTS).exists()

    def records(self, shard: str) -> list[Record]:
        """The records of one shard, in order."""
        with (self.folder / f"{shard}.jsonl").open(encoding="ascii") as lines:
            return [_from_json(shard, json.loads(line)) for line in lines]

    def frame(self, record: Record, index: int) -> NDArray[np.uint8]:
        """Picture before step `index` of the record (the last: at its end), [192, 384, 3] uint8 RGB."""
        offset, length = record.frames[index]
        with (self.folder / f"{record.shard}.frames").open("rb") as file:
            file.seek(offset)
            return decode_png(file.read(length))


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """PNG to [H, W, 3] uint8 RGB. ValueError: not a picture."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{len(data)} bytes are no PNG; the .frames file is damaged, write it again")
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def encode_png(rgb: NDArray[np.uint8], effort: int = 1) -> bytes:
    """[H, W, 3] uint8 RGB to PNG; effort 1 is fast, 9 small."""
    ok, data = cv2.imencode(".png", rgb[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, effort])
    if not ok:
        raise ValueError(f"OpenCV cannot write a PNG of shape {rgb.shape}")
    return data.tobytes()


def family_of(seed: int, families: tuple[str, ...] = FIRST) -> str:
    """Which of these families a training seed draws: they take turns."""
    return families[seed % len(families)]


def robot_of(seed: int, names: tuple[str, ...], families: tuple[str, ...] = FIRST) -> str:
    """Which of these robots acts in a training seed's scene: each does all its families in turn."""
    able = [name for name in names if name in trained_robots(family_of(seed, families))]
    return able[seed // len(families) % len(able)]


def write(
    out: str | Path,
    *,
    episodes: int,
    first_seed: int = 0,
    workers: int = 1,
    robot: str = robots.DEFAULT,
    families: str = ",".join(FIRST),
    steps: str = STEPS[0],
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Write the episodes of `episodes` seeds, skipping shards that are there already.

    Args:
        robot: a robot's name, or "all": they take turns.
        families: names with commas, groups, or "all": they take turns by seed.
        steps: one of episode.STEPS: skills are carried out by physics, or their outcome is set.

    Returns:
        Counts: seeds, written and dropped (imperfect executions), over all shards.

    Raises:
        ValueError: a seed belongs to the benchmark, no such robot or family, none of the robots can do
            a family, or the folder holds another run.
    """
    names, wanted = robots.chosen(robot), chosen(families)
    if unable := [family for family in wanted if not set(names) & set(robots_for(family))]:
        raise ValueError(
            f"{robot} cannot do {', '.join(unable)}: leave them out, or take {robots_for(unable[0])}"
        )
    if unseen := [family for family in wanted if not set(names) & set(trained_robots(family))]:
        raise ValueError(
            f"{robot} with {', '.join(unseen)} is held out from training, for the suite "
            f"embodied-generalisation: leave them out, or take {trained_robots(unseen[0])}"
        )
    training_seed(first_seed)
    training_seed(first_seed + episodes - 1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder, index, (names, wanted, steps), range(start, min(start + SHARD_SEEDS, first_seed + episodes)))
        for index, start in enumerate(range(first_seed, first_seed + episodes, SHARD_SEEDS))
    ]
    run: dict[str, int | str] = {
        "episodes": episodes,
        "first_seed": first_seed,
        "robot": robot,
        "families": ",".join(wanted),
        "steps": steps,
    }
    _insist_on_same_run(folder, run)
    began, counts = time.monotonic(), {"seeds": 0, "written": 0, "dropped": 0}
    with contextlib.ExitStack() as stack:
        results: Iterator[tuple[str, int, int]] = map(_write_shard, jobs)
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            results = pool.imap_unordered(_write_shard, jobs)
        for name, seeds, written in results:
            counts["seeds"] += seeds
            counts["written"] += written
            counts["dropped"] += seeds - written
            rate = counts["seeds"] / (time.monotonic() - began)
            log(f"{name}: {written} of {seeds}; {counts['seeds']}/{episodes} seeds, {rate:.1f} a second")
    (folder / _COUNTS).write_text(json.dumps(counts) + "\n", encoding="ascii")
    return counts


def _insist_on_same_run(folder: Path, run: dict[str, int | str]) -> None:
    path = folder / "run.json"
    # runs from before there were others do not name theirs
    first = {"robot": robots.DEFAULT, "families": ",".join(FIRST), "steps": STEPS[0]}
    there = first | json.loads(path.read_text(encoding="ascii")) if path.exists() else run
    if there != run:
        raise ValueError(f"{folder} holds the run {there}, not {run}; go on with that, or take a new folder")
    path.write_text(json.dumps(run) + "\n", encoding="ascii")


def _write_shard(
    job: tuple[Path, int, tuple[tuple[str, ...], tuple[str, ...], str], range],
) -> tuple[str, int, int]:
    """Write one shard, unless it is there; returns its name, its seeds and how many were good."""
    folder, index, (names, families, steps), seeds = job
    name = f"shard-{index:05d}"
    lines_path, frames_path = folder / f"{name}.jsonl", folder / f"{name}.frames"
    if lines_path.exists():
        with lines_path.open(encoding="ascii") as lines:
            return name, len(seeds), sum(1 for _ in lines)
    written, temporary = 0, f".{os.getpid()}.tmp"
    lines_part, frames_part = Path(f"{lines_path}{temporary}"), Path(f"{frames_path}{temporary}")
    with World() as world, lines_part.open("w", encoding="ascii") as lines, frames_part.open("wb") as frames:
        for seed in seeds:
            try:
                robot = robot_of(seed, names, families)
                family = family_of(seed, families)
                episode = record(world, family, training_seed(seed), robot, steps=steps)
            except ImperfectError:
                continue
            places = []
            for picture in episode.pictures:
                data = encode_png(picture)
                places.append((frames.tell(), len(data)))
                frames.write(data)
            lines.write(json.dumps(to_line(episode, places)) + "\n")
            written += 1
    os.replace(frames_part, frames_path)
    os.replace(lines_part, lines_path)
    return name, len(seeds), written


def to_line(episode: Episode, frames: list[tuple[int, int]]) -> dict[str, Any]:
    """What a line of the .jsonl says of an episode whose pictures lie at (offset, length) in .frames."""
    line = {
        "family": episode.scene.family,
        "seed": episode.scene.seed,
        "robot": episode.scene.robot,
        "instruction": episode.scene.instruction,
        "steps": [{"subgoal": taken.subgoal, "skill": _skill_list(taken.skill)} for taken in episode.steps],
        "frames": frames,
        "states": [_state_json(state) for state in episode.states],
        "detour": [_skill_list(skill) for skill in episode.detour],
        "success": episode.success,
    }
    pictures = [digest.of_picture(picture) for picture in episode.pictures]
    return {**line, "sha256": {"record": digest.of_record(line), "pictures": pictures}}


def _skill_list(skill: Skill) -> list[str]:
    return [skill.verb, skill.object, skill.target, *([skill.relation] if skill.relation else [])]


# Parts of a state that many scenes have nothing of: written only where there is something
_SELDOM = ("parts", "spatial", "blocked", "stage")


def _state_json(state: SymbolicState) -> dict[str, Any]:
    return {key: value for key, value in asdict(state).items() if value or key not in _SELDOM}


def _state(line: dict[str, Any]) -> SymbolicState:
    def facts(key: str) -> tuple[Fact, ...]:
        return tuple(Fact(f["object"], f["relation"], f["target"]) for f in line.get(key, ()))

    return SymbolicState(
        facts("where"),
        tuple(line["full"]),
        tuple(line["touched"]),
        facts("parts"),
        facts("spatial"),
        facts("blocked"),
        line.get("stage", 0),
    )


def _from_json(shard: str, line: dict[str, Any]) -> Record:
    return Record(
        shard,
        line["family"],
        line["seed"],
        line["robot"],
        line["instruction"],
        0,
        tuple(step["subgoal"] for step in line["steps"]),
        tuple(Skill(*step["skill"]) for step in line["steps"]),
        tuple((offset, length) for offset, length in line["frames"]),
        tuple(_state(state) for state in line["states"]),
        tuple(Skill(*skill) for skill in line["detour"]),
        line["success"],
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The writer's arguments."""
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--episodes", type=int, default=1000, help="how many seeds to try")
    parser.add_argument("--first-seed", type=int, default=0, help="training seeds are below 1000000000")
    parser.add_argument(
        "--robot",
        default=robots.DEFAULT,
        help=f"{', '.join(robots.ROBOTS)}, or all, which take turns (default: %(default)s)",
    )
    parser.add_argument(
        "--families",
        default=",".join(FIRST),
        help="all, groups of families or names, with commas, which take turns (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        choices=STEPS,
        default=STEPS[0],
        help="executed: the robot moves, by physics; imagined: each skill's outcome is set at once, which is "
        "several times as fast and shows the same states (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")


def run(args: argparse.Namespace) -> int:
    """Write episodes, a line of progress a shard; 0 when all shards are there."""
    counts = write(
        args.out,
        episodes=args.episodes,
        first_seed=args.first_seed,
        workers=args.workers,
        robot=args.robot,
        families=args.families,
        steps=args.steps,
        log=_say,
    )
    _say(json.dumps(counts))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(prog="sim.data", description="Write simulated training episodes.")
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
