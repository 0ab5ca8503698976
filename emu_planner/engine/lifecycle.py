"""The life of one session on a shared model, as a machine of states.

    WAITING -> PREFILL -> TEXT -> SIZE -> IMAGE -> TEXT ... -> DONE

A state says what the session's next pass is for. SIZE is left out where the size is given, because
forced tokens cost no pass; PREFILL comes again before the first guided image, when the prompts
without words are read. Knows no token, model or thread.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from emu_planner.engine.grammar import Phase


class State(Enum):
    """What a session's next pass is for, or how the session ended."""

    WAITING = "waiting"  # for memory
    PREFILL = "prefill"  # to read a prompt, perhaps in several pieces
    TEXT = "text"
    SIZE = "size"
    IMAGE = "image"
    DONE = "done"  # an end token was chosen
    CANCELLED = "cancelled"  # it was stopped, or nobody reads it any more
    FAILED = "failed"  # its context is full, or a pass could not be made


ENDS = frozenset({State.DONE, State.CANCELLED, State.FAILED})
_BROKEN = frozenset({State.CANCELLED, State.FAILED})
# For each state, those that may come next; every other change is a defect.
TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.WAITING: _BROKEN | {State.PREFILL},
        State.PREFILL: _BROKEN | {State.TEXT, State.SIZE, State.IMAGE},
        State.TEXT: ENDS | {State.PREFILL, State.SIZE, State.IMAGE},
        State.SIZE: ENDS | {State.IMAGE},
        State.IMAGE: ENDS | {State.TEXT},
        **{end: frozenset[State]() for end in ENDS},
    }
)
OF_PHASE: Mapping[Phase, State] = MappingProxyType(
    {Phase.TEXT: State.TEXT, Phase.SIZE: State.SIZE, Phase.IMAGE: State.IMAGE}
)


class Lifecycle:
    """The present state; begins in WAITING."""

    def __init__(self) -> None:
        self.state = State.WAITING

    @property
    def ended(self) -> bool:
        """Whether nothing can come any more."""
        return self.state in ENDS

    def enter(self, state: State) -> None:
        """Change to `state`; staying in the present one is no change.

        Raises:
            RuntimeError: TRANSITIONS does not name this change.
        """
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a session went from {self.state.value} to {state.value}")
        self.state = state
