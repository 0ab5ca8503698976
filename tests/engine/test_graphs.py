"""The device decoder, run eagerly on a CPU: the plain decoder's tokens, states and errors."""

import gc
import itertools
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from emu_planner.engine import jacobi, kept
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.decoders import PlainDecoder, decoder_of
from emu_planner.engine.grammar import Grammar, Phase
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.raster import Decoding, generate
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.spread import connect
from emu_planner.model.transformer import attend
from tests import golden
from tests.engine.shared import FULL, VOCABULARY, Ask, random_ask, random_model, told
from tests.engine.test_raster import CASES, shrink, size_of

V = VOCABULARY
GREEDY = Sampling(top_k=1)
# words only: the end comes at the tenth token
TEXT = Ask((V.bos, *range(20), V.bss), None, None, (2, 3), Decoding(), seed=3, tokens=10)


def tokens_of(v, case, decode, branches, sampler, *, decoding, size=None, count=None):
    made = decode(
        branches, Grammar(v, size or size_of(case)), sampler, decoding, case["prompt_ids"], boi=v.boi
    )
    return [token.id for token in itertools.islice(made, count or case["max_new_tokens"])]


@pytest.mark.parametrize("case", CASES, ids=["fixed-size", "copied-size", "text-only", "fixed-size-cfg-5"])
def test_published_generations(published, published_vocabulary, case):
    decoder = DeviceDecoder(published)
    branches = decoder.branches(capacity=256, unconditional=case["unc_prompt_ids"])
    decoding = Decoding(GREEDY, GREEDY, case["cfg"])
    found = tokens_of(published_vocabulary, case, decoder.generate, branches, Sampler(0), decoding=decoding)
    assert found == case["output_ids"]


@pytest.mark.parametrize(
    ("rows", "chunk", "image"),
    [(1, 1, Sampling(0.8, 40, 0.9)), (2, 3, Sampling()), (3, 64, Sampling(0.8, 40, 0.9))],
)
def test_a_seed_gives_the_plain_decoders_tokens(published, published_vocabulary, rows, chunk, image):
    model, v = shrink(published, published_vocabulary, 512)
    case, bare = CASES[1], golden.values("generation.json")[0]["unc_prompt_ids"]
    decoding = Decoding(Sampling(top_k=50), image, 3.0 if rows > 1 else 1.0, 2.0)
    more = {"unconditional": case["unc_prompt_ids"] if rows > 1 else None, "capacity": 512}
    more |= {"imageless": bare, "boi": v.boi} if rows > 2 else {}
    decoder = DeviceDecoder(model, DeviceConfig(chunk=chunk))
    for seed in (3, 4):  # the second one in memory that held the first
        samplers = Sampler(seed), Sampler(seed)
        expected = tokens_of(
            v, case, generate, Branches(model, **more), samplers[0], decoding=decoding, size=(5, 3), count=30
        )
        branches = decoder.branches(**more)
        found = tokens_of(
            v, case, decoder.generate, branches, samplers[1], decoding=decoding, size=(5, 3), count=30
        )
        assert found == expected
        assert v.eoi in found
        del branches


def masked(q, keys, values, positions):
    """An attention as graphs take it, of the whole memory: what split attention does on a GPU."""
    seen = torch.arange(keys.shape[2]) <= positions[:, None, :, None]
    return attend(q, keys, values, seen)


@pytest.mark.parametrize("fused", [False, True], ids=["layers", "fused"])
@pytest.mark.parametrize("attention", [None, masked], ids=["model", "own"])
def test_answer_after_answer_has_the_plain_decoders_tokens(attention, fused):
    """Texts, images of several sizes, with and without guidance, full contexts, ends amid everything."""
    model, rng = random_model(torch.float64), random.Random(0)
    decoder = DeviceDecoder(model, DeviceConfig(fused=fused), attend=attention)
    asks = [random_ask(rng) for _ in range(40)]
    found = [told(decoder.generate(decoder.branches(**a.rows), *a.arguments(), boi=V.boi), a) for a in asks]
    expected = [told(generate(Branches(model, **a.rows), *a.arguments(), boi=V.boi), a) for a in asks]
    assert found == expected
    assert sum(said[-1] == FULL for said in found) > 2
    assert {phase for said in found for _, phase in said[:-1]} == set(Phase)


def test_words_are_read_by_recorded_passes(monkeypatch):
    read, made = [], kept.Passes.read
    monkeypatch.setattr(kept.Passes, "read", lambda self, *given: read.append(given) or made(self, *given))
    decoder, ask = DeviceDecoder(random_model()), TEXT
    said = told(decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=V.boi), ask)
    # the prompt's pass gives the first word, and nobody asks what follows the last one
    assert [given[0] for given in read] == [token for token, _ in said[:-1]]
    assert [given[1] for given in read] == [[len(ask.prompt) + count] for count in range(len(read))]


@pytest.mark.parametrize("seed", range(6))
def test_another_decoders_pictures_stand_between_recorded_words(seed):
    model, ask = random_model(torch.float64), random_ask(random.Random(seed))
    decoder = DeviceDecoder(model, decode=jacobi.generate)
    found = told(decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=V.boi), ask)
    assert found == told(jacobi.generate(Branches(model, **ask.rows), *ask.arguments(), boi=V.boi), ask)


def place(branches):
    return branches.cache.keys[0].data_ptr()


def test_memory_is_lent_to_one_answer_at_a_time():
    decoder = DeviceDecoder(random_model())
    first, beside = decoder.branches(capacity=64), decoder.branches(capacity=64)
    lent = place(first)
    assert type(beside) is Branches
    assert place(beside) != lent
    del first
    third = decoder.branches(capacity=100)
    assert place(third) == lent
    assert third.cache.capacity == 100


@pytest.mark.parametrize("how", ["ends", "is closed"])
def test_an_answer_that_ends_gives_its_memory_back_though_it_is_still_held(how):
    decoder, ask = DeviceDecoder(random_model()), TEXT
    branches = decoder.branches(**ask.rows)
    lent = place(branches)
    tokens = decoder.generate(branches, *ask.arguments(), boi=V.boi, ends=range(V.size))
    first = next(tokens)
    assert type(decoder.branches(**ask.rows)) is Branches
    assert list(tokens) == [] if how == "ends" else tokens.close() is None
    again = decoder.branches(**ask.rows)
    assert place(again) == lent
    assert next(decoder.generate(again, *ask.arguments(), boi=V.boi)) == first


def test_more_rows_or_tokens_get_other_memory_and_fewer_the_same():
    decoder = DeviceDecoder(random_model())
    ask = replace(TEXT, unconditional=(V.bos, V.bss), capacity=64)
    branches = decoder.branches(**ask.rows)
    two = place(branches)
    del branches
    branches = decoder.branches(capacity=1000)
    assert place(branches) == two
    assert branches.rows == 1
    del branches
    assert decoder.branches(capacity=1025).cache.memory > 1024


def test_what_a_broken_answer_left_does_not_come_into_the_next_one():
    model, ask = random_model(torch.float64), replace(TEXT, prompt=(*TEXT.prompt, V.boi), size=(3, 4))
    decoder = DeviceDecoder(model)
    branches = decoder.branches(**ask.rows)
    for slots in (*branches.cache.keys, *branches.cache.values):
        slots.fill_(torch.nan)
    del branches
    found = told(decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=V.boi), ask)
    assert found == told(generate(Branches(model, **ask.rows), *ask.arguments(), boi=V.boi), ask)


def test_threads_share_one_decoder():
    model, rng = random_model(torch.float64), random.Random(5)
    decoder, asks = DeviceDecoder(model), [random_ask(rng) for _ in range(12)]
    made, begin = [], threading.Barrier(3)

    def answer(ask):
        branches = decoder.branches(**ask.rows)
        made.append(type(branches))
        tokens = decoder.generate(branches, *ask.arguments(), boi=V.boi)
        if len(made) <= 3:
            begin.wait(60)  # the first three answers are there at once
        return told(tokens, ask)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(answer, asks))
    assert found == [told(generate(Branches(model, **a.rows), *a.arguments(), boi=V.boi), a) for a in asks]
    assert 1 <= sum(kind is not Branches for kind in made) <= 10
    assert sum(kind is Branches for kind in made[:3]) == 2


def test_nothing_is_kept_when_nobody_has_the_decoder_or_it_is_closed():
    decoder, ask = DeviceDecoder(random_model()), replace(TEXT, prompt=(*TEXT.prompt, V.boi), size=(3, 4))
    for close in (True, False):
        told(decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=V.boi), ask)
        kept_memory = weakref.ref(decoder._memory)
        slots = weakref.ref(decoder._memory._cache.keys[0])
        gc.disable()  # memory of a GPU must not wait for the garbage collector
        try:
            if close:
                decoder.close()
            else:
                del decoder
            assert kept_memory() is None
            assert slots() is None
        finally:
            gc.enable()


def test_who_gets_recorded_passes():
    model = random_model()
    assert isinstance(decoder_of(model), PlainDecoder)
    assert isinstance(decoder_of(model, graphs=True), DeviceDecoder)
    connect(model)  # as a model that is spread
    assert isinstance(decoder_of(model, graphs=True), PlainDecoder)
    with torch.device("meta"):
        model = random_model()
    model.lm_head.to_empty(device="cpu")
    assert isinstance(decoder_of(model, graphs=True), PlainDecoder)


def test_a_full_context_ends_after_the_same_tokens(published, published_vocabulary):
    model, v = shrink(published, published_vocabulary, 512)
    case, decoding = CASES[0], Decoding(GREEDY, GREEDY, 3.0)
    more = {"unconditional": case["unc_prompt_ids"], "capacity": len(case["prompt_ids"]) + 20}
    decoder = DeviceDecoder(model)
    found = []
    for decode, branches in (
        (generate, Branches(model, **more)),
        (decoder.generate, decoder.branches(**more)),
    ):
        tokens = decode(branches, Grammar(v, (8, 8)), Sampler(0), decoding, case["prompt_ids"], boi=v.boi)
        got = []
        with pytest.raises(ContextFullError):
            got.extend(token.id for token in tokens)
        found.append(got)
    assert found[0] == found[1]
    assert len(found[0]) > 15


def test_wrong_configuration_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        DeviceConfig(chunk=0)
