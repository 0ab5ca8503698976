"""The families of the generalisation suite: what no training scene has, by construction.

    new_colours   a family's scene whose first four colours are of scene.UNSEEN_COLOURS
    new_things    things that belong together in no family, see new_things.py
    new_pairs     a family with a robot that training never has do it
    new_words     a family's scene, asked for in words of language/unseen.py
    new_heights   towers of four, see new_heights.py

They have no training seeds (make_scene refuses them), are none of FAMILIES, which is what training
chooses from, and training leaves the pairs out. Which family a scene is like follows from its seed.
"""

from sim.tasks import new_heights, new_things
from sim.tasks.new_heights import TALLEST

__all__ = ["HELD_OUT", "OWN", "PAIRS", "TALLEST", "like"]

HELD_OUT = ("new_colours", "new_things", "new_pairs", "new_words", "new_heights")

# (robot, family) that training never draws. Each robot does its other families there, and each
# family is done by other robots.
PAIRS = (
    ("kuka", "empty"),
    ("kuka", "row"),
    ("kuka", "restore"),
    ("mobile", "unstack"),
    ("mobile", "kinds"),
    ("mobile", "between"),
    ("xarm", "order"),
    ("xarm", "swap"),
    ("xarm", "drawer_get"),
)

# those with tasks of their own: the family each is like, and what draws it
OWN = {"new_things": new_things.KINDS_OF, "new_heights": new_heights.KINDS_OF}


def like(family: str, seed: int, families: tuple[str, ...]) -> str:
    """The family that a scene of a held-out family is like.

    Args:
        families: all of training's, in their order.
    """
    if family in OWN:
        own = OWN[family]
        return own[seed % len(own)][0]
    if family == "new_pairs":
        return PAIRS[seed % len(PAIRS)][1]
    return families[seed % len(families)]
