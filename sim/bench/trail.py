"""What really happens in one scene: every state that some plan reached, simulated once, remembered.

A state is named by the skills that led there. Whoever asks in whatever order gets the same bits,
because each state is made from its parent's snapshot. Many planners on one scene, most of which say
the same words, so cost little more than one. Knows no planner.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.frame import Observation
from sim.bench.suite import SceneName
from sim.oracle import MOST_STEPS, next_skill
from sim.reading import Candidate, library
from sim.scene import Scene, Skill
from sim.state import SymbolicState
from sim.world import Snapshot, World

Picture = NDArray[np.uint8]
Skills = tuple[Skill, ...]


@dataclass(frozen=True, eq=False)
class Place:
    """One real state."""

    # the last skill reached its outcome; True at the start
    ok: bool
    observation: Observation
    state: SymbolicState
    # named conditions of the task, see tasks.success
    success: dict[str, bool]
    legal: tuple[Skill, ...]
    snapshot: Snapshot

    @property
    def picture(self) -> Picture:
        """Both views side by side, [192, 384, 3] uint8."""
        return np.concatenate([frame.rgb for frame in self.observation.frames], axis=1)


class Trail:
    """The states of one scene. The world belongs to the trail until it is closed."""

    # where skills are carried out in a scene with moving parts, anew each time; see World.mirror
    _apart: World | None = None

    def __init__(self, world: World, name: SceneName) -> None:
        self.world, self.name = world, name
        self.scene: Scene = world.reset(name.family, name.seed, name.robot)
        self._places: dict[Skills, Place] = {(): self._arrive(ok=True)}
        self._libraries: dict[Skills, list[Candidate]] = {}
        self._needed: Skills | None = None
        # what others find out about pictures here; see imagined.py
        self.memory: dict[object, object] = {}

    def __enter__(self) -> "Trail":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory of all states."""
        for place in self._places.values():
            self.world.forget(place.snapshot)
        self._places.clear()
        self._libraries.clear()
        self.memory.clear()
        if self._apart is not None:
            self._apart.close()
            self._apart = None

    def at(self, skills: Skills) -> Place:
        """The state after these skills, each carried out in the state before; see Place.ok."""
        if skills not in self._places:
            self.go(skills[:-1])
            self._places[skills] = self._arrive(ok=self._carry_out(skills[-1]))
        return self._places[skills]

    def go(self, skills: Skills) -> None:
        """Let the world be in that state, exactly."""
        self.world.restore(self.at(skills).snapshot)

    def library(self, skills: Skills) -> list[Candidate]:
        """What the next picture may show, from that state on; its states' world is left there."""
        if skills not in self._libraries:
            self.go(skills)
            self._libraries[skills] = library(self.world)
            self.go(skills)
        return self._libraries[skills]

    def needed(self) -> Skills:
        """The oracle's skills from the start to the end of the task."""
        if self._needed is None:
            skills: Skills = ()
            while len(skills) < MOST_STEPS:
                place = self.at(skills)
                skill = next_skill(self.scene.goal, place.state) if place.ok else None
                if skill is None:
                    break
                skills += (skill,)
            self._needed = skills
        return self._needed

    def _carry_out(self, skill: Skill) -> bool:
        """Let the world be in the state after a skill; returns whether the skill's outcome was reached."""
        if not self.scene.parts:
            return self.world.execute(skill).ok
        if self._apart is None:
            self._apart = World()
        self._apart.mirror(self.world, anew=True)
        ok = self._apart.execute(skill).ok
        self.world.mirror(self._apart)
        return ok

    def _arrive(self, *, ok: bool) -> Place:
        world = self.world
        snapshot = world.snapshot()
        world.restore(snapshot)
        return Place(
            ok, world.observation(), world.state(), world.success(), tuple(world.legal_skills()), snapshot
        )
