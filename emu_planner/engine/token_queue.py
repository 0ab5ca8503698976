"""The tokens of one session on their way from the engine's thread to its reader's.

The engine never waits here: it looks for room before a pass, and leaves a session whose reader is
slow alone until there is some. Knows no model.
"""

import threading
from collections import deque
from collections.abc import Callable

from emu_planner.engine.raster import Token


class TokenQueue:
    """A queue with one writer and one reader.

    Args:
        bound: tokens from which on there is no room. A pass that had room may exceed it, by the
            forced tokens that follow its own.
        on_room: called in the reader's thread when there is room again.
    """

    def __init__(self, bound: int, on_room: Callable[[], None]) -> None:
        self._bound, self._on_room = bound, on_room
        self._tokens: deque[Token] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None

    @property
    def has_room(self) -> bool:
        """Whether another pass may be made for this reader."""
        return len(self._tokens) < self._bound

    def put(self, tokens: list[Token]) -> None:
        """Add tokens; nothing after `close`."""
        with self._changed:
            assert not self._closed, "a session went on after its end"
            self._tokens.extend(tokens)
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """No more will come: the reader takes what is there, then ends, or fails with `error`."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
                self._changed.notify()

    def take(self) -> Token | None:
        """Wait for the next token; None after the last. Raises what `close` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._tokens or self._closed)
            if not self._tokens:
                if self._error is not None:
                    raise self._error
                return None
            full = not self.has_room
            token = self._tokens.popleft()
            room = full and self.has_room
        if room:
            self._on_room()
        return token
