"""The raster decoder: the published code's tokens, cache equal to no cache, seeds, stopping."""

import itertools
import re
from dataclasses import replace

import pytest
import torch

from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError, StaticCache
from emu_planner.engine.grammar import Grammar, Phase
from emu_planner.engine.raster import Decoding, generate
from emu_planner.engine.sampler import Sampler, Sampling, guide
from emu_planner.model.transformer import Transformer
from tests import golden

GREEDY = Sampling(top_k=1)
CASES = golden.values("generation.json")


def size_of(case):
    """The size asked for, else that of the reference image in the unconditional prompt."""
    if case["target_height"]:
        return case["target_height"], case["target_width"]
    found = re.search(r"image start\|>(\d+)\*(\d+)", case["unc_prompt"])
    return (int(found[1]), int(found[2])) if found else None


def run(model, v, case, *, count, seed=0, decoding=None, guided=True, **more):
    decoding = decoding or Decoding(GREEDY, GREEDY, case["cfg"])
    unconditional = case["unc_prompt_ids"] if guided else None
    branches = Branches(model, capacity=256, unconditional=unconditional)
    grammar, sampler = Grammar(v, size_of(case)), Sampler(seed)
    tokens = generate(branches, grammar, sampler, decoding, case["prompt_ids"], boi=v.boi, **more)
    return list(itertools.islice(tokens, count))


@pytest.mark.parametrize("case", CASES, ids=["fixed-size", "copied-size", "text-only", "fixed-size-cfg-5"])
def test_published_generations(published, published_vocabulary, case):
    tokens = run(published, published_vocabulary, case, count=case["max_new_tokens"])
    assert [token.id for token in tokens] == case["output_ids"]


@torch.inference_mode()
def recompute(model, v, case, count):
    """The same generation without cache and without folding: a whole pass for every token."""
    conditional, unconditional = list(case["prompt_ids"]), list(case["unc_prompt_ids"])
    grammar, out = Grammar(v, size_of(case)), []
    if conditional[-1] == v.boi:
        grammar.advance(v.boi)
        unconditional.append(v.boi)
    while len(out) < count:
        before, forced = grammar.phase, grammar.forced()
        rows = torch.stack([model(torch.tensor([ids]))[0, -1] for ids in (conditional, unconditional)])
        logits = guide(rows.log_softmax(1), case["cfg"]) if before is Phase.IMAGE else rows[0]
        choice = grammar.choice()
        best = max(range(choice.first, choice.stop), key=lambda i: logits[i] if i in choice else -torch.inf)
        token = forced[0] if forced else best
        grammar.advance(token)
        out.append(token)
        conditional.append(token)
        if Phase.TEXT not in (before, grammar.phase) or token in (v.boi, v.eoi):
            unconditional.append(token)
    return out


def shrink(model, v, codes):
    """The golden model with only its first visual codes, so that whole passes stay quick."""
    size = v.first_visual + codes
    state = dict(model.state_dict())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = state[name][:size]
    small = Transformer(replace(model.config, vocab_size=size))
    small.load_state_dict(state, assign=True)
    return small.eval(), replace(v, codes=codes)


def test_cached_equals_recomputed_with_text_between_images(published, published_vocabulary):
    model, v = shrink(published, published_vocabulary, 512)
    case = {**CASES[1], "target_height": 2, "target_width": 3}
    branches = Branches(model, capacity=256, unconditional=case["unc_prompt_ids"])
    grammar = Grammar(v, (2, 3))
    tokens = generate(
        branches, grammar, Sampler(0), Decoding(GREEDY, GREEDY, 3.0), case["prompt_ids"], boi=v.boi
    )
    first = [next(tokens).id for _ in range(15)]
    assert first == recompute(model, v, case, 15)
    # A second image after text: the unconditional row must hold both images and no word.
    longer = {**case, "prompt_ids": [*case["prompt_ids"], *first, v.boi]}
    image = first[: first.index(v.eoi) + 1]
    longer["unc_prompt_ids"] = [*case["unc_prompt_ids"], v.boi, *image]
    again = Branches(model, capacity=256, unconditional=case["unc_prompt_ids"])
    again.extend(case["prompt_ids"][:-1], image=False)
    again.extend([v.boi, *image], image=True)
    again.extend(first[len(image) :], image=False)
    hidden = again.extend([v.boi], image=True)
    with torch.inference_mode():
        for row, ids in enumerate((longer["prompt_ids"], [*longer["unc_prompt_ids"], v.boi])):
            fresh = model.hidden(torch.tensor([ids]))[0, -1]
            assert torch.allclose(hidden[row], fresh, atol=1e-4)


def test_text_never_holds_visual_ids_nor_stray_image_tokens(published, published_vocabulary):
    v = published_vocabulary
    hot = Decoding(Sampling(temperature=50.0), Sampling(temperature=50.0), 1.0)
    tokens = run(published, v, CASES[2], count=150, decoding=hot, guided=False)
    for token in tokens:
        if token.phase is Phase.TEXT:
            assert token.id < v.first_visual
            assert token.id not in (v.img, v.eoi, v.eol, v.bos, v.pad)


def test_seeds_decide(published, published_vocabulary):
    decoding = Decoding(Sampling(), Sampling(), 1.0)

    def ids(seed):
        tokens = run(
            published, published_vocabulary, CASES[0], count=40, seed=seed, decoding=decoding, guided=False
        )
        return [token.id for token in tokens]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_guidance_1_is_no_guidance_and_guidance_matters(published, published_vocabulary):
    case, v = CASES[1], published_vocabulary
    plain = run(published, v, case, count=24, decoding=Decoding(GREEDY, GREEDY, 1.0), guided=False)
    one = run(published, v, case, count=24, decoding=Decoding(GREEDY, GREEDY, 1.0), guided=True)
    three = run(published, v, case, count=24)
    assert [token.id for token in plain] == [token.id for token in one]
    assert [token.id for token in plain] != [token.id for token in three]


def test_forced_tokens_take_no_pass_of_their_own(published, published_vocabulary, monkeypatch):
    passes = []
    hidden = published.hidden
    monkeypatch.setattr(published, "hidden", lambda ids, **more: passes.append(ids) or hidden(ids, **more))
    # fixed size 4*6 after BOI: 6 forced, 24 codes with a row end after each but the last, EOI
    tokens = run(published, published_vocabulary, CASES[0], count=4 + 24 + 4)
    assert tokens[-1].id == published_vocabulary.eoi
    prefills = 2
    assert len(passes) == prefills + 24
    assert all(len(ids) == 2 for ids in passes[prefills:])


def test_stop_ends_before_the_next_pass(published, published_vocabulary):
    asked = []

    def stopped():
        asked.append(True)
        return len(asked) > 3

    tokens = run(published, published_vocabulary, CASES[0], count=99, stopped=stopped)
    assert [token.id >= published_vocabulary.first_visual for token in tokens] == [False] * 4 + [True] * 3


def test_an_end_token_ends_and_is_yielded(published, published_vocabulary):
    expected = CASES[2]["output_ids"]
    tokens = run(published, published_vocabulary, CASES[2], count=99, ends=(expected[5],))
    assert [token.id for token in tokens] == expected[:6]


def test_log_probabilities_are_those_of_the_text_slice(published, published_vocabulary):
    case = CASES[2]
    token = run(published, published_vocabulary, case, count=1)[0]
    with torch.inference_mode():
        logits = published(torch.tensor([case["prompt_ids"]]))[0, -1, : published_vocabulary.first_visual]
    assert token.logprob == pytest.approx(float(logits.log_softmax(0)[token.id]), abs=1e-3)


def test_keys_and_values_lie_where_their_layer_does(published):
    layers = published.config.num_hidden_layers
    places = [torch.device("cpu"), *[torch.device("meta")] * (layers - 1)]
    cache = StaticCache(published.config, rows=2, capacity=8, device=places)
    for tensors in (cache.keys, cache.values):
        assert [tensor.device for tensor in tensors] == places
        assert {tensor.shape for tensor in tensors} == {cache.keys[0].shape}


def test_a_full_cache_says_so_and_stays_as_it_was(published):
    cache = StaticCache(published.config, rows=2, capacity=8)
    cache.append([0], 6)
    with pytest.raises(ContextFullError, match=r"6 \+ 3 tokens exceed the context of 8"):
        cache.append([0, 1], 3)
    assert cache.lengths == [6, 0]
