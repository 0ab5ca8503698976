"""The grammar: instructions and subgoals, in words and back. A file a group of tasks.

One table drives both directions: what `word_*` can write, `parse_*` can read. Case, punctuation,
doubled blanks and a leading "please" do not matter. Knows names, not physics.
"""

from sim.language.description import describe
from sim.language.grammar import Form
from sim.language.instructions import (
    FORMS,
    MEANINGS,
    UNSEEN,
    Request,
    chain_goal,
    goal_of,
    parse_instruction,
    word_chain,
    word_instruction,
)
from sim.language.sorting import colour_goal
from sim.language.subgoals import SUBGOALS, parse_skill, word_skill

# The short name of the reading that callers want most
parse = parse_skill

__all__ = [
    "FORMS",
    "MEANINGS",
    "SUBGOALS",
    "UNSEEN",
    "Form",
    "Request",
    "chain_goal",
    "colour_goal",
    "describe",
    "goal_of",
    "parse",
    "parse_instruction",
    "parse_skill",
    "word_chain",
    "word_instruction",
    "word_skill",
]
