"""What stands where, in words: a caption of a picture, from the symbols of its state.

Things come in the order of their names, so equal states have equal captions. Nothing reads them back:
they teach a model to see.
"""

from sim.scene import Fact, names_in
from sim.state import SymbolicState


def describe(state: SymbolicState) -> str:
    """As "the blue block on the red block, the green drawer closed, the red block on the table"."""
    return ", ".join(sorted(map(_say, (*state.where, *state.parts))))


def _say(fact: Fact) -> str:
    if fact.relation == "held":
        return f"the {fact.object} in the {fact.target}"
    if not fact.target:
        return f"the {fact.object} {fact.relation}"
    places = " and ".join(f"the {name}" for name in names_in(fact.target))
    return f"the {fact.object} {fact.relation} {places}"
