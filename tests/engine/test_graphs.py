"""The device decoder, run eagerly on a CPU: the plain decoder's tokens, states and errors."""

import itertools

import pytest

from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.raster import Decoding, generate
from emu_planner.engine.sampler import Sampler, Sampling
from tests import golden
from tests.engine.test_raster import CASES, shrink, size_of

GREEDY = Sampling(top_k=1)


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


def test_an_answer_beside_another_gets_memory_of_its_own(published):
    decoder = DeviceDecoder(published)
    first, second = decoder.branches(capacity=64), decoder.branches(capacity=64)
    assert first.cache is not second.cache
    memory = first.cache
    del first
    third = decoder.branches(capacity=100)
    assert third.cache is memory
    assert third.cache.capacity == 100


def test_more_room_is_made_when_an_answer_needs_it(published):
    decoder = DeviceDecoder(published)
    memory = decoder.branches(capacity=64).cache.memory
    assert decoder.branches(capacity=memory + 1).cache.memory > memory


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
