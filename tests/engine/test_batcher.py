"""Sessions that share passes: the tokens that each has alone, whoever comes and goes beside it.

Step by step in the test's own thread, so that every run divides its passes alike.
"""

import gc
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emu_planner.engine import batcher as module
from emu_planner.engine.batcher import Batcher, SchedulerConfig
from emu_planner.engine.lifecycle import State
from emu_planner.engine.raster import Decoding
from emu_planner.engine.sampler import Sampling
from emu_planner.engine.session import SharedRows
from emu_planner.plan import ErrorCode, PlanError
from tests.engine.shared import (
    CAPACITY,
    FULL,
    VOCABULARY,
    Ask,
    Reader,
    alone,
    random_ask,
    random_model,
    run_to_the_end,
)

V = VOCABULARY
CELLS = 3 * CAPACITY
# an image without end, as far as these tests go
LONG = Ask((V.bos, 5, V.bss, V.boi), None, None, (9, 9), Decoding(Sampling(), Sampling()), 1, tokens=60)
GUIDED = replace(LONG, unconditional=(V.bos, V.bss), decoding=Decoding(Sampling(), Sampling(), 3.0))


@pytest.fixture(scope="module")
def model():
    return random_model()


def make(model, cells=4 * CELLS, **more):
    return Batcher(model, SchedulerConfig(cells=cells, **more))


# ---- the same tokens ---------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_each_gets_the_tokens_it_has_alone_joined_and_left_at_any_time(model, seed):
    rng = random.Random(seed)
    asks = [random_ask(rng) for _ in range(rng.randrange(2, 9))]
    batcher = make(
        model,
        cells=rng.choice([CELLS, 2 * CELLS, 8 * CELLS]),
        step_tokens=rng.choice([4, 40, 256]),
        prompt_tokens=rng.choice([1, 7, 128]),
        queue_tokens=rng.choice([1, 8, 64]),
        block_tokens=rng.choice([1, 4, 16]),
        prefix_tokens=rng.choice([0, 40, 400]),
    )
    coming, readers, gone = list(asks), [], set()
    for _ in range(3000):
        if coming and rng.random() < 0.2:
            readers.append(Reader(batcher, coming.pop()))
        batcher.step()
        for reader in readers:
            if rng.random() < 0.7:
                reader.read()
            if rng.random() < 0.002:
                reader.session.abandoned = True
                gone.add(reader)
        if not coming and not batcher.sessions:
            break
    for reader in readers:
        reader.read()
        expected, said = alone(model, reader.ask), reader.said()
        assert said == (expected[: len(said)] if reader in gone else expected)
    assert len(readers) == len(asks)
    assert not batcher.sessions
    assert batcher.arena.free == batcher.arena.cells


def test_text_and_images_are_mixed_in_one_pass_and_their_lengths_differ(model):
    rng = random.Random(7)
    asks = [replace(random_ask(rng), tokens=40) for _ in range(12)]
    batcher = make(model, cells=12 * CELLS)
    readers = [Reader(batcher, ask) for ask in asks]
    states, lengths = set(), set()
    for _ in range(40):
        batcher.step()
        for reader in readers:
            reader.read()
        running = [s for s in batcher.sessions if s.lease is not None]
        states.add(frozenset(s.life.state for s in running))
        lengths |= {tuple(s.lease.lengths) for s in running}
    run_to_the_end(batcher, readers)
    assert any({State.TEXT, State.IMAGE} <= together for together in states)
    assert any({State.PREFILL, State.IMAGE} <= together for together in states)
    assert len(lengths) > 50
    assert [reader.said() for reader in readers] == [alone(model, ask) for ask in asks]


def test_a_full_context_ends_a_session_at_the_same_token_and_no_other(model):
    short = [replace(LONG, capacity=20), replace(GUIDED, capacity=23, seed=2)]
    batcher = make(model)
    readers = [Reader(batcher, ask) for ask in (*short, replace(LONG, seed=3))]
    run_to_the_end(batcher, readers)
    for reader in readers:
        assert reader.said() == alone(model, reader.ask)
    assert [reader.said()[-1] == FULL for reader in readers] == [True, True, False]
    assert [reader.state for reader in readers] == [State.FAILED, State.FAILED, State.CANCELLED]


def test_a_pass_serves_all_who_are_ready(model):
    batcher = make(model, cells=8 * CELLS)
    readers = [Reader(batcher, replace(GUIDED, seed=seed)) for seed in range(8)]
    run_to_the_end(batcher, readers)
    # 8 sessions one after another: 60 tokens each, of which 6 are the size and a tenth row ends
    assert batcher.passes < 2 * 60


def test_forced_tokens_take_no_pass_of_their_own(model):
    batcher = make(model)
    ask = replace(LONG, size=(4, 6), tokens=4 + 24 + 4)
    run_to_the_end(batcher, [reader := Reader(batcher, ask)])
    assert reader.tokens[31].id == V.eoi
    prompts = 1
    assert batcher.passes == prompts + 24


# ---- memory ------------------------------------------------------------------------------------


def test_who_does_not_fit_waits_and_nobody_overtakes(model):
    batcher = make(model, cells=2 * CAPACITY)
    first = Reader(batcher, replace(LONG, tokens=30))
    large = Reader(batcher, replace(GUIDED, tokens=5))
    small = Reader(batcher, replace(LONG, tokens=5))
    batcher.step()
    assert [reader.state for reader in (first, large, small)] == [State.PREFILL, State.WAITING, State.WAITING]
    for _ in range(80):
        if large.tokens:
            break
        batcher.step()
        first.read()
        large.read()
    assert len(first.tokens) >= 30
    assert small.state is State.WAITING
    run_to_the_end(batcher, [large, small])
    assert [reader.said() for reader in (first, large, small)] == [
        alone(model, reader.ask) for reader in (first, large, small)
    ]


def test_who_can_never_fit_is_told_so(model):
    batcher = make(model, cells=2 * CAPACITY)
    batcher.check(SharedRows(CAPACITY, (1,)))
    with pytest.raises(PlanError, match=r"3 rows of 160 tokens need more than the 320") as caught:
        batcher.check(SharedRows(CAPACITY, (1,), (1,), boi=V.boi))
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
    assert not caught.value.retryable


def test_memory_that_is_not_there_is_refused_at_the_start(model):
    with pytest.raises(ValueError, match=r"GiB on cpu, where .* are free; allow fewer plans"):
        make(model, cells=2**44)


def test_memory_is_flat_over_many_sessions(model):
    batcher, rng = make(model, prefix_tokens=320, block_tokens=4), random.Random(3)

    def serve(count):
        for _ in range(count):
            readers = [Reader(batcher, replace(random_ask(rng), tokens=6)) for _ in range(3)]
            run_to_the_end(batcher, readers)

    def held():
        # bytes of the tensors that live
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())

    serve(20)
    before, kept = held(), len(batcher.prefixes)
    serve(60)
    assert held() == before
    assert len(batcher.prefixes) == kept == 80
    assert batcher.arena.free == batcher.arena.cells


# ---- fairness ----------------------------------------------------------------------------------


def test_a_long_prompt_does_not_stall_those_who_write(model):
    rng = random.Random(0)
    batcher = make(model, prompt_tokens=8, prefix_tokens=0)
    writer = Reader(batcher, LONG)
    while len(writer.tokens) < 10:
        batcher.step()
        writer.read()
    prompt = (V.bos, *(rng.randrange(200) for _ in range(100)), V.bss)
    late = Reader(batcher, replace(LONG, prompt=prompt, tokens=1))
    before = batcher.passes
    while not late.tokens:
        written = len(writer.tokens)
        batcher.step()
        writer.read()
        late.read()
        assert len(writer.tokens) > written
    assert batcher.passes - before == 13  # 102 tokens, 8 a pass
    assert late.said() == alone(model, late.ask)


def test_several_long_prompts_share_what_a_pass_has_for_prompts(model):
    batcher = make(model, prompt_tokens=8, prefix_tokens=0)
    prompt = (V.bos, *range(40), V.bss)
    readers = [Reader(batcher, replace(LONG, prompt=prompt, seed=seed, tokens=3)) for seed in range(3)]
    while not any(reader.tokens for reader in readers):
        before = batcher.tokens
        batcher.step()
        assert batcher.tokens - before <= 8
        for reader in readers:
            reader.read()
    run_to_the_end(batcher, readers)
    assert [reader.said() for reader in readers] == [alone(model, reader.ask) for reader in readers]


def test_a_small_pass_goes_round(model):
    batcher = make(model, cells=8 * CELLS, step_tokens=4, prompt_tokens=4)
    readers = [Reader(batcher, replace(GUIDED, seed=seed)) for seed in range(6)]
    codes = Counter()
    for _ in range(120):
        batcher.step()
        for number, reader in enumerate(readers):
            reader.read()
            codes[number] = len(reader.tokens)
    assert min(codes.values()) > 10
    assert max(codes.values()) - min(codes.values()) <= 6
    run_to_the_end(batcher, readers)
    assert [reader.said() for reader in readers] == [alone(model, reader.ask) for reader in readers]


def test_rows_of_a_session_are_never_parted(model, monkeypatch):
    seen = []

    class Watched(module.PackedPass):
        def __init__(self, arena, segments):
            seen.extend((len(s.rows), s.lease.rows, s.size) for s in segments)
            super().__init__(arena, segments)

    monkeypatch.setattr(module, "PackedPass", Watched)
    batcher = make(model, step_tokens=1, prompt_tokens=1)
    run_to_the_end(batcher, [Reader(batcher, replace(GUIDED, tokens=20))])
    prompts, images = [s for s in seen if s[0] == 1], [s for s in seen if s[0] > 1]
    assert all(rows == all_rows for rows, all_rows, _ in images)
    assert len(images) > 10
    assert all(size == 1 for *_, size in prompts)


def test_a_slow_reader_waits_alone(model):
    batcher = make(model, queue_tokens=5)
    slow, quick = Reader(batcher, LONG), Reader(batcher, replace(LONG, seed=2))
    for _ in range(70):
        batcher.step()
        quick.read()
    assert len(quick.tokens) >= 60
    assert 5 <= len(slow.session.queue._tokens) < 15
    run_to_the_end(batcher, [slow])
    assert slow.said() == alone(model, LONG)


# ---- ends --------------------------------------------------------------------------------------


def test_a_stop_ends_within_a_step_and_frees_memory(model):
    stop = []
    batcher = make(model, cells=2 * CAPACITY)
    stopping = Reader(batcher, LONG, stopped=lambda: bool(stop))
    waiting = Reader(batcher, GUIDED)
    also = Reader(batcher, LONG, stopped=lambda: bool(stop))
    batcher.step()
    stop.append(True)
    batcher.step()
    assert stopping.state is also.state is State.CANCELLED
    assert waiting.state is State.PREFILL
    stopping.read()
    assert stopping.session.queue.take() is None
    assert stopping.said() == alone(model, LONG)[: len(stopping.tokens)]


def test_a_caller_whose_stop_fails_gets_his_own_error(model):
    def stopped():
        raise KeyError("mine")

    batcher = make(model)
    broken, other = Reader(batcher, LONG, stopped=stopped), Reader(batcher, LONG)
    batcher.step()
    with pytest.raises(KeyError, match="mine"):
        broken.session.queue.take()
    run_to_the_end(batcher, [other])
    assert other.said() == alone(model, LONG)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (ValueError("a defect"), RuntimeError, "a pass for 2 sessions failed: ValueError: a defect"),
        (torch.OutOfMemoryError("16 GiB"), PlanError, "did not fit in memory"),
    ],
)
def test_a_pass_that_fails_is_told_to_all_in_it_and_the_next_goes_on(
    model, monkeypatch, error, expected, words
):
    batcher = make(model)
    readers = [Reader(batcher, LONG), Reader(batcher, GUIDED)]
    batcher.step()
    with monkeypatch.context() as patch:
        patch.setattr(model, "hidden", lambda *_, **__: (_ for _ in ()).throw(error))
        batcher.step()
    for reader in readers:
        with pytest.raises(expected, match=words):
            list(iter(reader.session.queue.take, None))
        assert reader.state is State.FAILED
    assert batcher.arena.free == batcher.arena.cells
    run_to_the_end(batcher, [after := Reader(batcher, GUIDED)])
    assert after.said() == alone(model, GUIDED)


def test_not_a_number_in_one_session_does_not_reach_those_after_it(model, monkeypatch):
    batcher = make(model, cells=2 * CAPACITY, prefix_tokens=0)
    bad = Reader(batcher, GUIDED)
    for _ in range(5):
        batcher.step()
    for tensor in (*bad.session.lease.keys, *bad.session.lease.values):
        tensor[:, :, : bad.session.lease.lengths[0]] = float("nan")
    bad.session.abandoned = True
    longer = replace(GUIDED, unconditional=(V.bos, *range(20), V.bss))  # rows of unequal lengths
    run_to_the_end(batcher, [good := Reader(batcher, longer)])
    assert good.said() == alone(model, longer)


# ---- prompts that begin alike ------------------------------------------------------------------


def test_an_equal_beginning_is_not_read_again_and_the_tokens_stay(model):
    rng = random.Random(5)
    words = [rng.randrange(200) for _ in range(70)]
    first = replace(GUIDED, prompt=(V.bos, *words, V.bss, V.boi), tokens=20)
    # the instruction stays, the frame has changed at its end
    again = replace(first, prompt=(V.bos, *words[:50], *words[:20], V.bss, V.boi), seed=9)
    batcher = make(model, block_tokens=4, prefix_tokens=400)
    run_to_the_end(batcher, [one := Reader(batcher, first)])
    read = batcher.tokens
    run_to_the_end(batcher, [two := Reader(batcher, again)])
    assert one.session.job.rows.cached_tokens == 0
    assert two.session.job.rows.cached_tokens == 48
    assert batcher.tokens - read <= read - 48
    assert one.said() == alone(model, first)
    assert two.said() == alone(model, again)


def test_the_same_prompt_leaves_its_last_token_to_read(model):
    text = replace(LONG, prompt=(V.bos, 1, 2, V.bss), tokens=10)
    batcher = make(model, block_tokens=1, prefix_tokens=50)
    for _ in range(2):
        run_to_the_end(batcher, [reader := Reader(batcher, text)])
        assert reader.said() == alone(model, text)
    assert reader.session.job.rows.cached_tokens == 3


def test_what_is_kept_is_bounded_and_the_oldest_goes(model):
    batcher = make(model, block_tokens=4, prefix_tokens=40)

    def cached(start):
        ask = replace(LONG, prompt=(V.bos, *range(start, start + 30), V.bss, V.boi), tokens=1)
        run_to_the_end(batcher, [reader := Reader(batcher, ask)])
        assert len(batcher.prefixes) <= 10
        return reader.session.job.rows.cached_tokens

    assert [cached(0), cached(0), cached(50), cached(100), cached(0)] == [0, 32, 0, 0, 0]


def test_a_prompt_longer_than_its_session_fails_alone_though_its_beginning_is_known(model):
    batcher = make(model, block_tokens=4, prefix_tokens=200)
    prompt = (V.bos, *range(60), V.bss, V.boi)
    run_to_the_end(batcher, [Reader(batcher, replace(LONG, prompt=prompt, tokens=1))])
    short = Reader(batcher, replace(LONG, prompt=prompt, capacity=40))
    other = Reader(batcher, LONG)
    run_to_the_end(batcher, [short, other])
    assert (short.said(), short.state) == ([FULL], State.FAILED)
    assert other.said() == alone(model, LONG)
    assert batcher.arena.free == batcher.arena.cells


@pytest.mark.parametrize(
    "changes", [{"cells": 0}, {"step_tokens": 0}, {"queue_tokens": 0}, {"prefix_tokens": -1}]
)
def test_wrong_settings_are_refused(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} is"):
        SchedulerConfig(**{"cells": 1, **changes})
