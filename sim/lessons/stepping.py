"""Steps that are shown when they are done: an object picked and placed in one, without physics.

Shared by the illustrated guides and the stories. Knows skills; no words.
"""

import math
from collections.abc import Mapping

from sim import repertoire
from sim.layout import NoRoomError
from sim.scene import Pose, Skill
from sim.state import SymbolicState
from sim.world import World

_AWAY_M = 0.02  # an actor that is nearer to where it began is home
_ROOM_M = 0.08  # between the middles of two


def set_skill(world: World, skill: Skill) -> None:
    """Set the world as a skill leaves it. NoRoomError: the skill is not possible now."""
    if repertoire.why_illegal(world, skill) is not None:
        raise NoRoomError
    world.imagine(skill)


def insist_on_rest(state: SymbolicState) -> None:
    """NoRoomError: something hangs, leans or lies where it should not."""
    if not all(fact.relation in ("on", "in") for fact in state.where):
        raise NoRoomError


def may_go_home(world: World, name: str, begin: Mapping[str, Pose]) -> bool:
    """Whether an actor is away from where it began, free, and nobody stands there.

    Args:
        begin: where each actor began.
    """
    home, poses = begin[name], {other: world.pose(other) for other in begin}
    clear = all(_apart(home, pose) > _ROOM_M for other, pose in poses.items() if other != name)
    return _apart(home, poses[name]) > _AWAY_M and clear and world.state().above(name) is None


def _apart(one: Pose, other: Pose) -> float:
    return math.dist(one.position[:2], other.position[:2])
