"""One session on a shared model: what its next pass reads, and what follows from the token chosen.

The order of tokens, and what each row of guidance holds, are those of raster.py and branches.py; here
they are told in steps, so that a pass can serve many sessions. Knows no other session, no thread and
no tensor.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emu_planner.engine.arena import Lease
from emu_planner.engine.grammar import Choice, Grammar, Phase
from emu_planner.engine.lifecycle import OF_PHASE, Lifecycle, State
from emu_planner.engine.packed import Segment
from emu_planner.engine.raster import Decoding, Token
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.token_queue import TokenQueue


@dataclass(eq=False)
class SharedRows:
    """The rows of one generation on a shared model: what Branches is for a model of one's own.

    Arguments as of Branches. Made by Scheduler.branches; takes no memory before generation begins.
    """

    capacity: int
    unconditional: Sequence[int] | None = None
    imageless: Sequence[int] | None = None
    boi: int | None = None
    # tokens of row 0's prompt that were known from an earlier one
    cached_tokens: int = 0
    # from the call to the moment when memory was there
    queue_s: float = 0.0

    def __post_init__(self) -> None:
        if self.imageless is not None and (self.unconditional is None or self.boi is None):
            raise ValueError("guidance without images needs the unconditional prompt and the id of BOI too")

    @property
    def count(self) -> int:
        """How many rows they are."""
        return 1 + (self.unconditional is not None) + (self.imageless is not None)


@dataclass(eq=False)
class Job:
    """What raster.generate takes, as one value."""

    rows: SharedRows
    grammar: Grammar
    sampler: Sampler
    decoding: Decoding
    prompt: Sequence[int]
    boi: int
    ends: Collection[int]
    stopped: Callable[[], bool]
    begun_s: float = field(default_factory=time.perf_counter)


class Decision(NamedTuple):
    """A token to choose: from what, in which phase, and by the logits of which rows."""

    choice: Choice
    phase: Phase
    rows: range


class Session:
    """A job that is being done.

    Args:
        job: with a new grammar and sampler.
        queue: where its tokens go.
    """

    def __init__(self, job: Job, queue: TokenQueue) -> None:
        self.job, self.queue = job, queue
        self.life = Lifecycle()
        self.lease: Lease | None = None
        # set by its reader, who has gone
        self.abandoned = False
        self._image = self._unopened = job.prompt[-1] == job.boi
        # what the next choice follows, and the part of it that no pass has read yet
        self._pending = list(job.prompt[-1:] if self._image else job.prompt)
        # of each row, what it must read before its first token of an image
        self._prompts = [list(prompt or ()) for prompt in (job.rows.unconditional, job.rows.imageless)]
        self._prompts.insert(0, list(job.prompt[:-1]) if self._image else [])
        self._read = [0] * len(self._prompts)  # tokens of each of these prompts that are read or known

    @property
    def stopped(self) -> bool:
        """Whether it shall not go on."""
        return self.abandoned or self.job.stopped()

    def row_prompts(self) -> list[Sequence[int]]:
        """For each row the tokens that it begins with, as far as they may be known already."""
        rows = self.job.rows
        # the last token of row 0 is always read: a choice follows it
        prompts = [self.job.prompt[:-1], rows.unconditional, rows.imageless]
        return [prompt for prompt in prompts if prompt is not None]

    def begin(self, lease: Lease) -> None:
        """Memory is there; its rows may hold the beginnings of `row_prompts` already."""
        self.lease = lease
        self.job.rows.queue_s = time.perf_counter() - self.job.begun_s
        self.job.rows.cached_tokens = lease.lengths[0]
        self.life.enter(State.PREFILL)
        for row, known in enumerate(lease.lengths):
            self._read[row] = known
        if not self._image:
            del self._pending[: lease.lengths[0]]
        self._open_image()

    def next_segment(self, limit: int) -> Segment:
        """What to read next, of at most `limit` tokens but one a row at least.

        Raises:
            ContextFullError: there is no room for what must be read; see Branches.
        """
        lease, rows = self._leased(), self._rows()
        for row in rows:
            prompt, read = self._prompts[row], self._read[row]
            if read < len(prompt):
                lease.check([row], len(prompt) - read)
                return Segment(lease, range(row, row + 1), prompt[read : read + max(1, limit)])
        if len(rows) > 2 and self._pending[0] == self.job.boi:
            # row 2 holds the present image alone
            lease.lengths[2] = len(self._prompts[2])
        lease.check(rows, len(self._pending))
        return Segment(lease, rows, self._pending[: max(1, limit // len(rows))])

    def has_read(self, segment: Segment) -> Decision | None:
        """A pass has read it; the decision that follows, or None: there is more to read before."""
        if not self._is_ready():
            self._read[segment.rows.start] += len(segment.tokens)
            self._open_image()
            return None
        del self._pending[: len(segment.tokens)]
        if self._pending:
            return None
        grammar = self.job.grammar
        self.life.enter(OF_PHASE[grammar.phase])
        rows = self._rows() if grammar.phase is Phase.IMAGE else range(1)
        return Decision(grammar.choice(), grammar.phase, rows)

    def has_prompt(self, row: int) -> bool:
        """Whether a row has read its prompt whole."""
        return self._leased().lengths[row] >= len(self.row_prompts()[row])

    def take(self, token: int, logprob: float) -> None:
        """Go on with the token that was chosen."""
        grammar = self.job.grammar
        said = [Token(token, grammar.phase, logprob)]
        grammar.advance(token)
        self._pending, self._image = [token], grammar.phase is not Phase.TEXT
        if token in self.job.ends:
            self.queue.put(said)
            self.life.enter(State.DONE)
            return
        said += self._force()
        self.life.enter(OF_PHASE[grammar.phase] if self._is_ready() else State.PREFILL)
        self.queue.put(said)

    def end(self, error: BaseException | None = None) -> None:
        """It ends here, unless it had: failed with an error, else cancelled."""
        if not self.life.ended:
            self.life.enter(State.FAILED if error else State.CANCELLED)
        self.queue.close(error)

    def _open_image(self) -> None:
        """The prompt's own image begins, once all before its BOI is read."""
        if self._unopened and self._read[0] >= len(self._prompts[0]):
            self._unopened = False
            self.job.grammar.advance(self.job.boi)
            self.queue.put(self._force())

    def _force(self) -> list[Token]:
        """Take the tokens that must come now; the next pass reads them with the one before."""
        grammar, forced = self.job.grammar, []
        for token in grammar.forced():
            forced.append(Token(token, grammar.phase))
            grammar.advance(token)
            self._pending.append(token)
        return forced

    def _rows(self) -> range:
        """The rows that read what is pending."""
        return range(self.job.rows.count if self._image else 1)

    def _is_ready(self) -> bool:
        """Whether the rows that the pending tokens are for have read their prompts."""
        return all(self._read[row] >= len(self._prompts[row]) for row in self._rows())

    def _leased(self) -> Lease:
        assert self.lease is not None, "a session begins before it reads"
        return self.lease
