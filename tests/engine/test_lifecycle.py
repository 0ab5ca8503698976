"""The states of a session: what may follow what, and that real sessions go that way and no other."""

import itertools

import pytest
import torch

from emu_planner.engine.arena import Arena
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.lifecycle import ENDS, TRANSITIONS, Lifecycle, State
from emu_planner.engine.raster import Decoding
from emu_planner.engine.sampler import Sampler
from emu_planner.engine.session import Job, Session, SharedRows
from emu_planner.engine.token_queue import TokenQueue
from tests.engine.shared import VOCABULARY, random_model

V = VOCABULARY
BEFORE = {
    State.WAITING: [],
    State.PREFILL: [State.PREFILL],
    **{state: [State.PREFILL, state] for state in (State.TEXT, State.SIZE, State.IMAGE)},
    State.DONE: [State.PREFILL, State.TEXT, State.DONE],
    State.CANCELLED: [State.CANCELLED],
    State.FAILED: [State.FAILED],
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_change_is_in_the_table_or_refused(before, after):
    life = Lifecycle()
    for state in BEFORE[before]:
        life.enter(state)
    assert life.state is before
    if after is before or after in TRANSITIONS[before]:
        life.enter(after)
        assert life.state is after
    else:
        with pytest.raises(RuntimeError, match=f"from {before.value} to {after.value}"):
            life.enter(after)
        assert life.state is before
    assert life.ended == (life.state in ENDS)


def test_nothing_follows_an_end_and_every_state_can_end():
    for state, following in TRANSITIONS.items():
        assert (not following) if state in ENDS else {State.CANCELLED, State.FAILED} <= following


@pytest.fixture(scope="module")
def model():
    return random_model()


class Walk:
    """A session whose tokens the test chooses; remembers the states it went through."""

    def __init__(self, model, prompt, *, rows=1, size=(1, 2), ends=(V.eos,), capacity=64, limit=1000):
        self.arena = Arena(model.config, cells=256, devices=[torch.device("cpu")] * 2, dtype=torch.float32)
        others = {"unconditional": (V.bos, V.bss), "imageless": (V.bos, V.bss)}
        given = dict(itertools.islice(others.items(), rows - 1))
        shared = SharedRows(capacity, boi=V.boi, **given)
        job = Job(
            shared, Grammar(V, size), Sampler(0), Decoding(), prompt, V.boi, ends, stopped=lambda: False
        )
        self.session = Session(job, TokenQueue(100, lambda: None))
        self.states, self.limit = [State.WAITING], limit

    def begin(self):
        rows = self.session.job.rows
        self.session.begin(self.arena.lend(rows.count, rows.capacity))
        return self.note()

    def choose(self, *tokens):
        """Read until a choice, and choose; for each token."""
        for token in tokens:
            while True:
                segment = self.session.next_segment(self.limit)
                segment.lease.append(segment.rows, len(segment.tokens))
                decision = self.session.has_read(segment)
                self.note()
                if decision is not None:
                    break
            assert token in decision.choice
            self.session.take(token, 0.0)
            self.note()
        return self

    def end(self, error=None):
        self.session.end(error)
        return self.note()

    def note(self):
        state = self.session.life.state
        if state is not self.states[-1]:
            self.states.append(state)
        return self


S, CODE, WORD = State, V.first_visual, 40
TEXT, IMAGE = (V.bos, WORD, V.bss), (V.bos, WORD, V.bss, V.boi)
SIZE = (V.zero + 1, V.zero, V.zero + 1, V.zero)


def walks(model):
    """For each, its session and the states that it has to go through."""
    new = lambda prompt, **more: Walk(model, prompt, **more)  # noqa: E731
    broken = ContextFullError("full")
    return {
        "gone before memory": (new(TEXT).end(), [S.CANCELLED]),
        "failed before memory": (new(TEXT).end(broken), [S.FAILED]),
        "gone while it reads": (new(TEXT).begin().end(), [S.PREFILL, S.CANCELLED]),
        "failed while it reads": (new(TEXT).begin().end(broken), [S.PREFILL, S.FAILED]),
        "text": (new(TEXT).begin().choose(WORD, V.eos), [S.PREFILL, S.TEXT, S.DONE]),
        "in pieces": (new(TEXT, limit=1).begin().choose(WORD, V.eos), [S.PREFILL, S.TEXT, S.DONE]),
        "gone in text": (new(TEXT).begin().choose(WORD).end(), [S.PREFILL, S.TEXT, S.CANCELLED]),
        "failed in text": (new(TEXT).begin().choose(WORD).end(broken), [S.PREFILL, S.TEXT, S.FAILED]),
        "a given size": (
            new(TEXT).begin().choose(WORD, V.boi, CODE, CODE, WORD, V.eos),
            [S.PREFILL, S.TEXT, S.IMAGE, S.TEXT, S.DONE],
        ),
        "a chosen size": (
            new(TEXT, size=None).begin().choose(V.boi, *SIZE, CODE).end(),
            [S.PREFILL, S.TEXT, S.SIZE, S.IMAGE, S.CANCELLED],
        ),
        "guidance": (
            new(TEXT, rows=2).begin().choose(V.boi, CODE, CODE, WORD, V.boi, CODE),
            [S.PREFILL, S.TEXT, S.PREFILL, S.IMAGE, S.TEXT, S.IMAGE],
        ),
        "guidance, a chosen size": (
            new(TEXT, rows=3, size=None).begin().choose(V.boi, *SIZE, CODE),
            [S.PREFILL, S.TEXT, S.PREFILL, S.SIZE, S.IMAGE],
        ),
        "image first": (
            new(IMAGE, rows=3).begin().choose(CODE, CODE, V.eos),
            [S.PREFILL, S.IMAGE, S.TEXT, S.DONE],
        ),
        "size first": (
            new(IMAGE, size=None).begin().choose(V.zero + 1).end(broken),
            [S.PREFILL, S.SIZE, S.FAILED],
        ),
        "gone in a size": (
            new(IMAGE, size=None).begin().choose(V.zero + 1).end(),
            [S.PREFILL, S.SIZE, S.CANCELLED],
        ),
        "ends with a digit": (
            new(IMAGE, size=None, ends=(V.zero + 1,)).begin().choose(V.zero + 1),
            [S.PREFILL, S.SIZE, S.DONE],
        ),
        "ends with a code": (
            new(IMAGE, ends=(CODE,)).begin().choose(CODE),
            [S.PREFILL, S.IMAGE, S.DONE],
        ),
        "failed in an image": (
            new(IMAGE).begin().choose(CODE).end(broken),
            [S.PREFILL, S.IMAGE, S.FAILED],
        ),
    }


def test_sessions_go_through_the_states_of_the_table(model):
    seen = set()
    for name, (walk, expected) in walks(model).items():
        assert walk.states == [State.WAITING, *expected], name
        seen |= set(itertools.pairwise(walk.states))
    # every line of the table is walked
    assert seen == {(before, after) for before, ways in TRANSITIONS.items() for after in ways}


def test_an_end_stays_what_it_was(model):
    walk = Walk(model, TEXT).begin().choose(V.eos)
    assert walk.end(ContextFullError("late")).states[-1] is State.DONE


def test_a_third_row_needs_the_second_and_boi():
    for missing in ({"unconditional": None, "boi": 1}, {"unconditional": (1,), "boi": None}):
        with pytest.raises(ValueError, match="needs the unconditional prompt and the id of BOI"):
            SharedRows(8, imageless=(1,), **missing)
