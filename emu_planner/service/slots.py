"""Who may plan now, and who is how far back in the queue: first come, first served.

Lives in the event loop's thread alone. Knows no session and no planner.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False)
class Ticket:
    """A place in the queue; `changed` is set whenever `granted` or `position` changes."""

    position: int = 0
    granted: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class RunSlots:
    """A semaphore whose waiters know their position (0: next)."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self) -> Ticket:
        """Queue up; the ticket may be granted at once."""
        ticket = Ticket(position=len(self._waiting))
        self._waiting.append(ticket)
        self._advance()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the slot, or the place in the queue, to the next."""
        if ticket.granted:
            ticket.granted = False
            self._free += 1
        else:
            self._waiting.remove(ticket)
        self._advance()

    def _advance(self) -> None:
        while self._free and self._waiting:
            ticket = self._waiting.popleft()
            self._free -= 1
            ticket.granted = True
            ticket.changed.set()
        for position, ticket in enumerate(self._waiting):
            if ticket.position != position:
                ticket.position = position
                ticket.changed.set()
