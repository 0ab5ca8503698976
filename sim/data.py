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
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sim import digest, robots
from sim.episode import STEPS, Episode, ImperfectError, record
from sim.scene import Fact, Skill, training_seed
from sim.shard_reader import ShardReader
from sim.shard_writer import Entry, Places, write_run
from sim.state import SymbolicState
from sim.tasks import FIRST, chosen, robots_for, trained_robots
from sim.world import World


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


class EpisodeReader(ShardReader[Record]):
    """Reads the episodes of a folder; picture `index` is the one before that step, the last the end."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, _from_json, "emu-planner data sim")


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
    run: dict[str, int | str] = {
        "episodes": episodes,
        "first_seed": first_seed,
        "robot": robot,
        "families": ",".join(wanted),
        "steps": steps,
    }
    # runs from before there were others do not name theirs
    first: dict[str, int | str] = {"robot": robots.DEFAULT, "families": ",".join(FIRST), "steps": STEPS[0]}
    return write_run(
        Path(out), run, _entries, (names, wanted, steps), defaults=first, workers=workers, log=log
    )


def _entries(wanted: tuple[tuple[str, ...], tuple[str, ...], str], seeds: range) -> Iterator[Entry]:
    """The good episodes of these seeds."""
    names, families, steps = wanted
    with World() as world:
        for seed in seeds:
            robot, family = robot_of(seed, names, families), family_of(seed, families)
            try:
                episode = record(world, family, training_seed(seed), robot, steps=steps)
            except ImperfectError:
                continue
            yield Entry(episode.pictures, partial(to_line, episode))


def to_line(episode: Episode, frames: Places) -> dict[str, Any]:
    """What a line of the .jsonl says of an episode whose pictures lie at (offset, length) in .frames."""
    line = {
        "family": episode.scene.family,
        "seed": episode.scene.seed,
        "robot": episode.scene.robot,
        "instruction": episode.scene.instruction,
        "steps": [{"subgoal": taken.subgoal, "skill": _skill_list(taken.skill)} for taken in episode.steps],
        "frames": frames,
        "states": [state_json(state) for state in episode.states],
        "detour": [_skill_list(skill) for skill in episode.detour],
        "success": episode.success,
    }
    pictures = [digest.of_picture(picture) for picture in episode.pictures]
    return {**line, "sha256": {"record": digest.of_record(line), "pictures": pictures}}


def _skill_list(skill: Skill) -> list[str]:
    return [skill.verb, skill.object, skill.target, *([skill.relation] if skill.relation else [])]


# Parts of a state that many scenes have nothing of: written only where there is something
_SELDOM = ("parts", "spatial", "blocked", "stage")


def state_json(state: SymbolicState) -> dict[str, Any]:
    """A state as JSON data; `read_state` takes it back."""
    return {key: value for key, value in asdict(state).items() if value or key not in _SELDOM}


def read_state(line: dict[str, Any]) -> SymbolicState:
    """The state that `state_json` wrote."""

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
        tuple(read_state(state) for state in line["states"]),
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
        "about three times as fast and shows nearly always the same states (default: %(default)s)",
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
