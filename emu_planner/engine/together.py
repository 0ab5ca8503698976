"""Several processes that generate as one: the first is asked, the others do what it does.

Every process has a decoder over the model that they share (model/parallel.py, rows.py). The first one's
stands in a planner or generator as any other would: what it is asked goes to all of them, and so does
whether to stop, before each pass. All choose the same tokens, which only the first one tells.

    decoder = Leader(decoder, ranks)      # in the first process; at its end, end(ranks)
    follow(decoder, ranks)                # in the others, until then
"""

import itertools
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.decoders import Decoder, Generate, decoder_of
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.graphs import DeviceDecoder
from emu_planner.engine.ranks import Ranks
from emu_planner.engine.raster import Decoding, Tokens
from emu_planner.engine.request import SHARES
from emu_planner.engine.rows import SplitDecoder
from emu_planner.engine.sampler import Sampler
from emu_planner.model.errors import CheckpointError
from emu_planner.model.transformer import Transformer
from emu_planner.plan import ErrorCode, PlanError

_log = logging.getLogger(__name__)

# what the first process says before each pass, and once at the end of an answer
_ON, _STOP, _END = range(3)


@dataclass(frozen=True)
class _Ask:
    """An answer that all are to generate."""

    rows: dict[str, Any]
    grammar: Grammar
    seed: int
    decoding: Decoding
    prompt: list[int]
    boi: int
    ends: tuple[int, ...]


@dataclass(frozen=True)
class _Wanted:
    """Rows that are made when their answer begins, in all processes."""

    rows: dict[str, Any]


class Leader:
    """The Decoder of the process that is asked. One answer at a time.

    Args:
        decoder: this process's, over the model that they share.
        ranks: all of them; the others call `follow`.
    """

    def __init__(self, decoder: Decoder, ranks: Ranks) -> None:
        self._decoder, self._ranks = decoder, ranks
        self._busy = threading.Lock()

    def branches(self, **rows: Any) -> Any:
        """What `generate` takes. No memory is taken yet: the others would not hear of it."""
        return _Wanted(rows)

    def generate(
        self,
        branches: Any,
        grammar: Grammar,
        sampler: Sampler,
        decoding: Decoding,
        prompt: Sequence[int],
        *,
        boi: int,
        ends: Collection[int] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Tokens:
        """As of the process's own decoder.

        Raises:
            PlanError: RESOURCE_EXHAUSTED: another answer has not ended, or a process has no memory for
                this one. INTERNAL: a pass failed in this process, and no answer can come any more.
        """
        if not self._busy.acquire(blocking=False):
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                "processes that share a model make one answer at a time, and one has not ended; ask again "
                "later, or serve with --max-plans 1",
            )
        try:
            if self._ranks.lost.is_set():
                raise _lost("a pass failed before")
            ask = _Ask(branches.rows, grammar, sampler.seed, decoding, list(prompt), boi, tuple(ends))
            _share(ask, self._ranks)
            yield from self._lead(_make(self._decoder, ask.rows, self._ranks), ask, grammar, sampler, stopped)
        finally:
            self._busy.release()

    def _lead(
        self, rows: Any, ask: _Ask, grammar: Grammar, sampler: Sampler, stopped: Callable[[], bool]
    ) -> Tokens:
        """The answer, with a word to the others before each pass."""

        def agreed() -> bool:
            stop = stopped()
            _say(_STOP if stop else _ON, self._ranks)
            return stop

        try:
            yield from self._decoder.generate(
                rows, grammar, sampler, ask.decoding, ask.prompt, boi=ask.boi, ends=ask.ends, stopped=agreed
            )
        except (ContextFullError, GeneratorExit):
            raise  # between passes, or in all processes alike
        except BaseException as error:
            # the others are amid a pass: they would take whatever comes next for a part of it
            self._ranks.lost.set()
            if not isinstance(error, Exception):
                raise  # Ctrl-C
            raise _lost(str(error)) from error
        finally:
            # wherever its reader left it: the others wait for this at the next pass, or at their end
            if not self._ranks.lost.is_set():
                _say(_END, self._ranks)


@dataclass(frozen=True)
class Sharing:
    """Which processes share a model, and how."""

    ranks: Ranks
    # "tensor": each has a part of every layer; "guidance": each has the whole, and some rows
    how: str = "tensor"

    def __post_init__(self) -> None:
        if self.how not in SHARES:
            raise ValueError(f"a model is shared by {self.how!r}; expected one of {', '.join(SHARES)}")

    @property
    def mesh(self) -> Any:
        """Of the processes that have parts of the model; None: it is whole in each."""
        return self.ranks.mesh if self.how == "tensor" else None

    def decoder(self, model: Transformer, generate: Generate, *, graphs: bool) -> Decoder:
        """This process's decoder of the model; of the first, one that leads."""
        own: Decoder
        if self.how == "guidance":
            own = SplitDecoder(model, generate, self.ranks)
        else:
            own = decoder_of(model, generate, graphs=graphs)
        return Leader(own, self.ranks) if self.ranks.leads else own


def check_plans(plans: int) -> None:
    """Raises CheckpointError when so many plans at once are asked of processes that share a model."""
    if plans > 1:
        raise CheckpointError(
            f"{plans} plans at once: processes that share a model make one at a time; use --max-plans 1"
        )


def end(ranks: Ranks) -> None:
    """Let the others end; of the first process, when no answer is under way. They may have ended already."""
    if ranks.lost.is_set():
        return  # they hear nothing, until this process's end closes what they wait on
    try:
        _share(None, ranks)
    except RuntimeError as error:
        _log.warning("the other processes ended before this one, which see: %s", error)


def follow(decoder: Decoder, ranks: Ranks) -> int:
    """Generate whatever the first process does, until it ends; how many answers that were.

    Raises:
        PlanError: SERVER_UNAVAILABLE: the first process has died.
    """
    for count in itertools.count():
        try:
            ask = _share(None, ranks)
        except RuntimeError as error:
            words = f"the first of the {ranks.size} processes that share the model has died ({error})"
            raise PlanError(ErrorCode.SERVER_UNAVAILABLE, f"{words}; start them again") from error
        if ask is None:
            return count
        _follow_one(ask, decoder, ranks)
    raise AssertionError("counting does not end")


def _follow_one(ask: _Ask, decoder: Decoder, ranks: Ranks) -> None:
    heard = _ON

    def stopped() -> bool:
        nonlocal heard
        heard = _say(_ON, ranks)
        return heard != _ON

    sampler = Sampler(ask.seed, ranks.device)
    try:
        rows = _make(decoder, ask.rows, ranks)
    except PlanError:
        return  # as in the first process, where somebody hears of it
    try:
        tokens = decoder.generate(
            rows,
            ask.grammar,
            sampler,
            ask.decoding,
            ask.prompt,
            boi=ask.boi,
            ends=ask.ends,
            stopped=stopped,
        )
        for _ in tokens:
            pass
    except ContextFullError:
        pass  # likewise
    while heard != _END:
        heard = _say(_ON, ranks)


def _make(decoder: Decoder, rows: dict[str, Any], ranks: Ranks) -> Any:
    """The rows of an answer, in every process or in none: PlanError."""
    made, reason = None, None
    try:
        made = decoder.branches(**rows)
    except RuntimeError as error:  # of a CPU, or torch.OutOfMemoryError of a GPU
        reason = error
    lacking = torch.tensor([int(made is None)])
    dist.all_reduce(lacking, group=ranks.control)
    if not lacking:
        return made
    # what is kept from answer to answer must be alike in all: passes are recorded by all or by none
    if isinstance(decoder, DeviceDecoder):
        decoder.close()
    raise PlanError(
        ErrorCode.RESOURCE_EXHAUSTED,
        f"no memory in {int(lacking)} of the {ranks.size} processes for an answer of {rows['capacity']} "
        f"tokens ({reason or 'not in this one'}); ask for a shorter one",
    ) from reason


def _lost(reason: str) -> PlanError:
    return PlanError(
        ErrorCode.INTERNAL,
        f"the processes that share the model are no longer at the same pass ({reason}); start them again",
    )


def _say(word: int, ranks: Ranks) -> int:
    """The first process's word, in all of them."""
    said = torch.tensor([word])
    dist.broadcast(said, src=0, group=ranks.control)
    return int(said)


def _share(ask: _Ask | None, ranks: Ranks) -> _Ask | None:
    """The first process's request, in all of them."""
    box = [ask]
    dist.broadcast_object_list(box, src=0, group=ranks.control)
    return box[0]
