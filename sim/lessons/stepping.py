"""Steps that are shown when they are done: an object picked and placed in one, without physics.

Shared by the illustrated guides and the stories. Knows skills; no words.
"""

from sim import repertoire
from sim.layout import NoRoomError
from sim.scene import Skill
from sim.state import SymbolicState
from sim.world import World


def set_skill(world: World, skill: Skill) -> None:
    """Set the world as a skill leaves it. NoRoomError: the skill is not possible now."""
    if repertoire.why_illegal(world, skill) is not None:
        raise NoRoomError
    world.imagine(skill)


def insist_on_rest(state: SymbolicState) -> None:
    """NoRoomError: something hangs, leans or lies where it should not."""
    if not all(fact.relation in ("on", "in") for fact in state.where):
        raise NoRoomError
