"""Many sessions on one model, step by step: each step is one forward pass for all that are ready.

A step ends what was stopped, admits what memory has room for, takes from each session in turn what it
reads next until the pass is full, runs it, and chooses every session's next token. First come, first
admitted: a session that has to wait for memory is overtaken by none. Belongs to one thread. Knows no
thread, no words and no pixels.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

import torch
from torch import Tensor

from emu_planner.engine.arena import Arena
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.grammar import Choice
from emu_planner.engine.lifecycle import State
from emu_planner.engine.packed import PackedPass, Segment
from emu_planner.engine.prefixes import PrefixStore
from emu_planner.engine.raster import pick, read_pick
from emu_planner.engine.session import Decision, Session, SharedRows
from emu_planner.model.spread import free_bytes, layer_devices
from emu_planner.model.transformer import Transformer
from emu_planner.plan import ErrorCode, PlanError


@dataclass(frozen=True)
class SchedulerConfig:
    """How much memory sessions share, and how a pass is divided between them."""

    # tokens of all rows of all sessions together whose keys and values fit
    cells: int
    # tokens of prompts whose keys and values are kept for later prompts that begin alike; 0: none;
    # None: an eighth of `cells`
    prefix_tokens: int | None = None
    # of these, so many at a time are found again
    block_tokens: int = 16
    # most tokens in a pass, all rows counted. A session's rows advance together: where even one
    # session needs more, it gets a pass alone
    step_tokens: int = 256
    # most of them for prompts, so that a long one does not stall those who write
    prompt_tokens: int = 128
    # a session this many tokens ahead of its reader waits for him
    queue_tokens: int = 64

    def __post_init__(self) -> None:
        for name in ("cells", "block_tokens", "step_tokens", "prompt_tokens", "queue_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.prefix_tokens is not None and self.prefix_tokens < 0:
            raise ValueError(f"prefix_tokens is {self.prefix_tokens}; expected 0 or more")

    @property
    def prefix_blocks(self) -> int:
        """Blocks that are kept."""
        tokens = self.cells // 8 if self.prefix_tokens is None else self.prefix_tokens
        return tokens // self.block_tokens


class Batcher:
    """The sessions of one model.

    Args:
        model: what computes.
        config: see there.

    Raises:
        ValueError: the memory asked for is not free.
    """

    def __init__(self, model: Transformer, config: SchedulerConfig) -> None:
        self.config = config
        # forward passes, and tokens in them, so far
        self.passes = self.tokens = 0
        self._model = model
        devices, dtype = layer_devices(model), model.model.embed_tokens.weight.dtype
        _check_memory(model, config, devices, dtype)
        self.arena = Arena(model.config, cells=config.cells, devices=devices, dtype=dtype)
        self.prefixes = PrefixStore(self.arena, blocks=config.prefix_blocks, block_tokens=config.block_tokens)
        self._waiting: deque[Session] = deque()
        self._running: list[Session] = []  # whose turn it is comes first
        self._unkept: dict[Session, set[int]] = {}  # rows whose prompts are not in `prefixes` yet

    @property
    def sessions(self) -> list[Session]:
        """Those that have not ended, oldest first among those that wait."""
        return [*self._running, *self._waiting]

    def check(self, rows: SharedRows) -> None:
        """PlanError RESOURCE_EXHAUSTED when such a session can never fit."""
        if not self.arena.fits(rows.count, rows.capacity):
            raise PlanError(
                ErrorCode.RESOURCE_EXHAUSTED,
                f"{rows.count} rows of {rows.capacity} tokens need more than the {self.arena.cells} that "
                "all sessions share; ask for less, or serve with more memory for sessions",
            )

    def add(self, session: Session) -> None:
        """A new session, at the end of the queue."""
        self._waiting.append(session)

    @torch.inference_mode()
    def step(self) -> bool:
        """One pass; False when there was nothing to compute."""
        self._end_stopped()
        self._admit()
        batch = self._fill_pass()
        if not batch:
            return False
        try:
            self._run(batch)
        except Exception as error:
            for session in batch:
                self._end(session, _told(error, len(batch)))
        return True

    def fail(self, error: Exception) -> None:
        """Every session ends with an error."""
        for session in self.sessions:
            self._end(session, _told(error, len(self.sessions)))

    def _end_stopped(self) -> None:
        for session in self.sessions:
            try:
                stopped = session.stopped
            except Exception as error:  # of the caller's own function: it goes back to him
                self._end(session, error)
                continue
            if stopped:
                self._end(session)

    def _admit(self) -> None:
        while self._waiting:
            session = self._waiting[0]
            rows = session.job.rows
            lease = self.arena.lend(rows.count, rows.capacity)
            if lease is None:
                return
            self._running.append(self._waiting.popleft())
            session.lease = lease
            prompts = session.row_prompts()
            self._unkept[session] = set(range(len(prompts)))
            for row, prompt in enumerate(prompts):
                self.prefixes.restore(lease, row, prompt[: lease.capacity])
            session.begin(lease)

    def _fill_pass(self) -> dict[Session, Segment]:
        """What each session reads in the coming pass; those that did not come in are first next time."""
        left, prompts_left = self.config.step_tokens, self.config.prompt_tokens
        batch: dict[Session, Segment] = {}
        for session in list(self._running):
            prompt = session.life.state is State.PREFILL
            limit = min(left, prompts_left) if prompt else self.config.step_tokens
            if not session.queue.has_room or (batch and min(limit, left) < 1):
                continue
            try:
                segment = session.next_segment(limit)
            except ContextFullError as error:
                self._end(session, error)
                continue
            if batch and segment.size > left:
                continue
            batch[session] = segment
            left -= segment.size
            prompts_left -= segment.size if prompt else 0
        self._running = [session for session in self._running if session not in batch] + list(batch)
        return batch

    def _run(self, batch: dict[Session, Segment]) -> None:
        hidden = PackedPass(self.arena, list(batch.values())).run(self._model)
        self.passes += 1
        self.tokens += sum(segment.size for segment in batch.values())
        decisions: dict[Session, Decision] = {}
        states: dict[Session, Tensor] = {}  # the hidden states [rows, width] that a decision needs
        place = 0
        for session, segment in batch.items():
            decision = session.has_read(segment)
            if decision is not None:
                decisions[session] = decision
                states[session] = hidden[place : place + len(decision.rows)]
            place += len(segment.rows)
            self._keep_prompts(session)
        for session, picked in self._choose(decisions, states).items():
            session.take(*read_pick(picked, decisions[session].choice))
            if session.life.ended:
                self._end(session)

    def _choose(
        self, decisions: dict[Session, Decision], states: dict[Session, Tensor]
    ) -> dict[Session, list[float]]:
        """What each session picks: one product for all that choose from the same ids, one transfer."""
        alike: dict[Choice, list[Session]] = defaultdict(list)
        for session, decision in decisions.items():
            alike[decision.choice].append(session)
        picked: dict[Session, Tensor] = {}
        for choice, sessions in alike.items():
            rows = [states[session] for session in sessions]
            logits = self._model.head(torch.cat(rows), slice(choice.first, choice.stop))
            for session, own in zip(sessions, logits.split([len(row) for row in rows]), strict=True):
                job, phase = session.job, decisions[session].phase
                picked[session] = pick(own, job.sampler, job.decoding, choice, phase)
        if not picked:
            return {}
        numbers = iter(torch.cat(list(picked.values())).tolist())
        return {session: [next(numbers) for _ in own] for session, own in picked.items()}

    def _keep_prompts(self, session: Session) -> None:
        for row in list(self._unkept[session]):
            if session.has_prompt(row):
                assert session.lease is not None, "it has just read"
                self.prefixes.keep(session.lease, row, session.row_prompts()[row])
                self._unkept[session].discard(row)

    def _end(self, session: Session, error: BaseException | None = None) -> None:
        """A session leaves, unless it has left before, and its memory is free."""
        session.end(error)
        if session in self._waiting:
            self._waiting.remove(session)
        if session in self._running:
            self._running.remove(session)
            del self._unkept[session]
        if session.lease is not None:
            self.arena.take_back(session.lease)
            session.lease = None


def _told(error: Exception, sessions: int) -> Exception:
    """What a reader hears of a pass that could not be made; each gets an error of its own."""
    told: Exception
    if isinstance(error, PlanError):
        told = PlanError(error.code, error.message, retryable=error.retryable)
    elif isinstance(error, torch.OutOfMemoryError):
        told = PlanError(
            ErrorCode.RESOURCE_EXHAUSTED,
            f"a pass for {sessions} sessions did not fit in memory; plan again, or serve fewer at once",
            retryable=True,
        )
    else:
        told = RuntimeError(f"a pass for {sessions} sessions failed: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told


def _check_memory(
    model: Transformer, config: SchedulerConfig, devices: list[torch.device], dtype: torch.dtype
) -> None:
    size = model.config
    cell = 2 * size.num_key_value_heads * size.head_dim * dtype.itemsize  # in one layer
    tokens = config.cells + config.prefix_blocks * config.block_tokens
    for device in set(devices):
        needed, free = tokens * cell * devices.count(device), free_bytes(device)
        if needed > free:
            raise ValueError(
                f"{tokens} tokens of sessions take {needed / 2**30:.2f} GiB on {device}, where "
                f"{free / 2**30:.2f} GiB are free; allow fewer plans at once or a shorter context"
            )
