"""Pictures beside one another for one step: before, predicted, decoded, nearest feasible, executed.

Runs the plan again in the simulator, which gives the same bits; nothing here is a score.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from emu_planner.plan.step import Step
from sim import language
from sim.bench.imagined import Fit, Imagined, displacement, imagine
from sim.bench.trail import Picture, Skills, Trail
from sim.reading import Candidate


@dataclass(frozen=True)
class Shown:
    """One step in pictures, [192, 384, 3] uint8 each; None: there is none."""

    subgoal: str
    before: Picture
    predicted: Picture | None
    # the state that the keyframe was read as, rendered; and its name
    decoded: Picture | None
    read_as: str
    # the possible next state nearest to it
    feasible: Picture | None
    # what the words really led to
    executed: Picture | None


def explain(trail: Trail, steps: tuple[Step, ...]) -> Iterator[Shown]:
    """Each step of a plan that was reached."""
    skills: Skills = ()
    for step in steps:
        place = trail.at(skills)
        decoded = feasible = None
        read_as = ""
        if step.keyframe is not None:
            imagined = imagine(trail, skills, step.keyframe.rgb, place.picture)
            decoded, feasible = _decoded(trail, skills, imagined), _feasible(trail, skills, imagined)
            read_as = imagined.name
        skill = language.parse_skill(step.subgoal, trail.scene)
        legal = skill is not None and skill in place.legal
        executed = None
        if skill is not None and legal:
            skills += (skill,)
            executed = trail.at(skills).picture
        predicted = None if step.keyframe is None else step.keyframe.rgb
        yield Shown(step.subgoal, place.picture, predicted, decoded, read_as, feasible, executed)
        if not legal or not trail.at(skills).ok:
            return


def _candidate(trail: Trail, skills: Skills, imagined: Imagined) -> Candidate | None:
    return next((c for c in trail.library(skills) if c.name == imagined.name), None)


def _decoded(trail: Trail, skills: Skills, imagined: Imagined) -> Picture | None:
    candidate = _candidate(trail, skills, imagined)
    if candidate is None or not any(imagined.offset_m):
        return None if candidate is None else candidate.picture
    return Fit(trail, skills, candidate, candidate.picture).render(candidate.moved[0], imagined.offset_m)


def _feasible(trail: Trail, skills: Skills, imagined: Imagined) -> Picture | None:
    candidate = _candidate(trail, skills, imagined)
    if candidate is None:
        return None
    possible = (c for c in trail.library(skills) if c.possible)
    return min(possible, key=lambda other: displacement(candidate.poses, other.poses)).picture
