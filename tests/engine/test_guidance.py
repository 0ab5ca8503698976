"""Guidance in both modes: each row holds what it should, and cached equals computed anew."""

import itertools
from dataclasses import replace

import pytest
import torch

from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Grammar, Phase
from emu_planner.engine.raster import Decoding, generate
from emu_planner.engine.sampler import Sampler, Sampling, guide
from emu_planner.model.prompt import image_tokens
from emu_planner.model.transformer import Transformer
from tests import golden

GREEDY = Sampling(top_k=1)
# a reference image of 4*4, and the prompt without it
CASE = golden.values("generation.json")[1]
BARE = golden.values("generation.json")[0]["unc_prompt_ids"]
CODES = 512
SCALE, IMAGE_SCALE = 3.0, 1.5


@pytest.fixture(scope="module")
def small(published, published_vocabulary):
    """The golden model with only its first visual codes, so that whole passes stay quick."""
    size = published_vocabulary.first_visual + CODES
    state = dict(published.state_dict())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = state[name][:size]
    model = Transformer(replace(published.config, vocab_size=size))
    model.load_state_dict(state, assign=True)
    return model.eval(), replace(published_vocabulary, codes=CODES)


def branches_of(model, v, **changes):
    arguments = {"unconditional": CASE["unc_prompt_ids"], "imageless": BARE, "boi": v.boi, **changes}
    return Branches(model, capacity=256, **arguments)


@torch.inference_mode()
def anew(model, rows):
    """The hidden state after each row's last token, every row on its own and without a cache."""
    return torch.stack([model.hidden(torch.tensor([ids]))[0, -1] for ids in rows])


def test_each_row_holds_its_own_tokens_through_two_images(small):
    model, v = small
    branches = branches_of(model, v)
    prompt, words = CASE["prompt_ids"][:-1], [40, 41, 42, 43]
    first = image_tokens(v, [[5, 6, 7], [8, 9, 10]])
    second = image_tokens(v, [[11, 12, 13], [14, 15, 16]])
    branches.extend(prompt, image=False)
    # BOI is read with the size, codes one by one, the last one with EOI: as the decoder does
    for index in range(len(first)):
        hidden = branches.extend([first[index]], image=True)
    branches.extend(words, image=False)
    for index in range(len(second)):
        hidden = branches.extend([second[index]], image=True)
        part = second[: index + 1]
        rows = [
            [*prompt, *first, *words, *part],
            [*CASE["unc_prompt_ids"], *first, *part],
            [*BARE, *part],
        ]
        assert torch.allclose(hidden, anew(model, rows), atol=2e-4), f"after {index + 1} tokens"


def test_guidance_with_three_rows_is_the_published_formula_on_log_softmax():
    c, u, n = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    expected = (
        n.log_softmax(0)
        + IMAGE_SCALE * (u.log_softmax(0) - n.log_softmax(0))
        + SCALE * (c.log_softmax(0) - u.log_softmax(0))
    )
    found = guide(torch.stack((c, u, n)), SCALE, IMAGE_SCALE)
    assert torch.allclose(found.softmax(0), expected.softmax(0), atol=1e-6)


@torch.inference_mode()
def recompute(model, v, count, size):
    """The same generation in no_text_img_cfg, every token by three whole passes over all ids."""
    rows = [list(CASE["prompt_ids"]), [*CASE["unc_prompt_ids"], v.boi], [*BARE, v.boi]]
    grammar, out = Grammar(v, size), []
    grammar.advance(v.boi)
    while len(out) < count:
        forced = grammar.forced()
        c, u, n = (model(torch.tensor([ids]))[0, -1].log_softmax(0) for ids in rows)
        logits = n + IMAGE_SCALE * (u - n) + SCALE * (c - u) if grammar.phase is Phase.IMAGE else c
        choice = grammar.choice()
        token = forced[0] if forced else choice.first + int(logits[choice.first : choice.stop].argmax())
        grammar.advance(token)
        out.append(token)
        for row in rows:
            row.append(token)
    return out


def tokens_of(model, v, branches, count, size, decoding):
    tokens = generate(branches, Grammar(v, size), Sampler(0), decoding, CASE["prompt_ids"], boi=v.boi)
    return [token.id for token in itertools.islice(tokens, count)]


@pytest.mark.parametrize(("size", "count"), [((3, 4), 4 + 3 * 5), (None, 6 + 30)], ids=["fixed", "its-own"])
def test_three_rows_generate_what_whole_passes_give(small, size, count):
    model, v = small
    decoding = Decoding(GREEDY, GREEDY, SCALE, IMAGE_SCALE)
    found = tokens_of(model, v, branches_of(model, v), count, size, decoding)
    assert found == recompute(model, v, count, size)
    # and the third row matters: without it other codes win
    two = tokens_of(model, v, branches_of(model, v, imageless=None), count, size, decoding)
    assert found != two


@pytest.mark.parametrize(
    "case", golden.values("generation_interleaved.json")["cases"], ids=lambda case: case["name"]
)
def test_published_generations_with_several_images(small, case, monkeypatch):
    """Words between images, a size of the model's own that is kept, and no_text_img_cfg."""
    model, v = small
    bias, head = torch.zeros(model.config.vocab_size), model.head
    bias[v.zero : v.zero + 2] = case["digit_bias"]
    bias[v.boi] = case["boi_bias"]
    monkeypatch.setattr(model, "head", lambda hidden, rows: head(hidden, rows) + bias[rows])
    branches = Branches(
        model,
        capacity=512,
        unconditional=case["unc_prompt_ids"],
        imageless=case["img_unc_prompt_ids"],
        boi=v.boi,
    )
    decoding = Decoding(GREEDY, GREEDY, case["cfg"], case["image_cfg_scale"])
    tokens = generate(branches, Grammar(v, case["size"]), Sampler(0), decoding, case["prompt_ids"], boi=v.boi)
    found = [token.id for token in itertools.islice(tokens, len(case["output_ids"]))]
    assert found.count(v.eoi) == 2
    assert found == case["output_ids"]


def test_an_image_scale_of_1_is_no_text_guidance(small):
    model, v = small
    decoding = Decoding(GREEDY, GREEDY, SCALE, 1.0)
    three = tokens_of(model, v, branches_of(model, v), 19, (3, 4), decoding)
    assert three == tokens_of(model, v, branches_of(model, v, imageless=None), 19, (3, 4), decoding)


def test_a_third_row_needs_the_second_and_boi(small):
    model, v = small
    for missing in ({"unconditional": None}, {"boi": None}):
        with pytest.raises(ValueError, match="needs the unconditional prompt and the id of BOI"):
            branches_of(model, v, **missing)
