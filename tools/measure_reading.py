"""Are a checkpoint's keyframes read right? The benchmark's reading beside one that shares nothing with it.

    python -m tools.measure_reading --checkpoint nano --scenes 25

The benchmark names the nearest of many rendered states (sim/reading.py). The second reader knows no scene:
it looks for paint in both views and lets rays meet (sim/lessons/look.py). Each thing that it finds in the
named state's own picture is looked for in the keyframe: near where the named state has it, elsewhere, or not
found. Moved things are also held against the state before the step, which shows what the question tells
apart. Intervals are 95%, by Wilson.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track
from rich.table import Table

from emu_planner.engine.planner import EmuPlanner
from emu_planner.model.checkpoint import resolve
from emu_planner.plan import Generation, PlanError, Step, StepComplete, Task
from emu_planner.plan.frame import Still
from sim import language
from sim.bench.suite import SceneName, read_suite
from sim.bench.trail import Picture, Skills, Trail
from sim.lessons import look
from sim.reading import Candidate, read_picture
from sim.statistics import wilson
from sim.world import World

VERDICTS = ("there", "elsewhere", "not found")
READ_AS = ("what the words say", "another possible state", "an impossible state")
# m: the second reader's cameras are the nominal ones, which makes its places uncertain by a centimetre
NEAR_M = 0.03

Place = tuple[float, float, float]


@dataclass(frozen=True)
class Read:
    """One keyframe, by both readers."""

    # one of READ_AS
    as_what: str
    # for things that the step moved and for others, what the second reader says of the named state
    moved: Counter[str]
    others: Counter[str]
    # of moved things, against the state before the step
    before: Counter[str]


def only_of_its_colour(trail: Trail) -> dict[str, str]:
    """Colours of the items that no other thing of the scene shares, by the item's name."""
    scene = trail.scene
    painted = [item.colour for item in scene.items]
    painted += [what.colour for what in scene.receptacles] + [button.colour for button in scene.buttons]
    return {item.name: item.colour for item in scene.items if painted.count(item.colour) == 1}


def place_of(picture: Picture, colour: str) -> Place | None:
    """Where the only thing of a colour is, m; None: not told."""
    found = look.find_items(picture, colour)
    return found[0].position if found is not None and len(found) == 1 else None


def compare(
    picture: Picture, named: Candidate, before: Candidate, colours: dict[str, str]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Verdicts on moved things and on others against `named`, and on the moved ones against `before`."""
    moved: Counter[str] = Counter()
    others: Counter[str] = Counter()
    then: Counter[str] = Counter()
    for name, colour in colours.items():
        there = place_of(named.picture, colour)
        if there is None:
            continue
        here = place_of(picture, colour)
        (moved if name in named.moved else others)[verdict(here, there)] += 1
        if name in named.moved and (was := place_of(before.picture, colour)) is not None:
            then[verdict(here, was)] += 1
    return moved, others, then


def verdict(here: Place | None, there: Place) -> str:
    """Whether a thing is where it should be."""
    if here is None:
        return "not found"
    return "there" if math.dist(here, there) <= NEAR_M else "elsewhere"


def reads(trail: Trail, steps: list[Step]) -> Iterator[Read]:
    """A plan's keyframes, each from the real state that its own words led to, while they can be followed."""
    skills: Skills = ()
    colours = only_of_its_colour(trail)
    for step in steps:
        skill = language.parse_skill(step.subgoal, trail.scene)
        if skill is None or skill not in trail.at(skills).legal or step.keyframe is None:
            return
        library = trail.library(skills)
        named = read_picture(step.keyframe.rgb, library).best
        right = named.skill == skill
        as_what = READ_AS[0] if right else READ_AS[1] if named.possible else READ_AS[2]
        yield Read(as_what, *compare(step.keyframe.rgb, named, library[0], colours))
        skills += (skill,)
        if not trail.at(skills).ok:
            return


def plan(planner: EmuPlanner, trail: Trail, scene: SceneName) -> list[Step]:
    """The steps of the first plan; those before it broke, if it did."""
    task = Task(trail.scene.instruction, Generation(seed=scene.sampling_seed))
    steps = []
    try:
        for event in planner.plan(task, Still(trail.at(()).observation)):
            if isinstance(event, StepComplete):
                steps.append(event.step)
    except PlanError:
        pass
    return steps


def measure(checkpoint: str, suite: str, scenes: int | None, console: Console) -> list[Read]:
    """All keyframes of the suite's first plans, read twice."""
    planner = EmuPlanner.load(resolve(checkpoint), device="cpu", threads=1)
    found: list[Read] = []
    with World() as world:
        for scene in track(read_suite(suite).first(scenes).scenes, console=console):
            with Trail(world, scene) as trail:
                found += reads(trail, plan(planner, trail, scene))
    return found


def table(found: list[Read]) -> Table:
    """Rows of things, by how the keyframe was read and by what was asked of them."""
    made = Table("keyframe read as", "keyframes", "things", "of them", *VERDICTS)
    for as_what in READ_AS:
        those = [one for one in found if one.as_what == as_what]
        for what, counters in (
            ("moved", [one.moved for one in those]),
            ("others", [one.others for one in those]),
            ("moved, against the state before", [one.before for one in those]),
        ):
            said = sum(counters, Counter())
            if not said.total():
                continue
            low, high = wilson(said["there"], said.total())
            there = f"{100 * said['there'] / said.total():.1f}% ({100 * low:.0f} to {100 * high:.0f})"
            rest = (str(said[verdict]) for verdict in VERDICTS[1:])
            made.add_row(as_what, str(len(those)), what, str(said.total()), there, *rest)
    return made


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="(default: %(default)s)")
    parser.add_argument("--suite", default="quick", help="of scenes to plan in (default: %(default)s)")
    parser.add_argument("--scenes", type=int, help="only the suite's first N")
    args = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(measure(args.checkpoint, args.suite, args.scenes, console)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
