"""The Jacobi decoder: the raster decoder's tokens, in fewer passes, whatever the guesses."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from emu_planner.engine import jacobi, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError, StaticCache
from emu_planner.engine.grammar import Choice, Grammar, forced_after_codes
from emu_planner.engine.jacobi import JacobiConfig, last_picture
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import Decoding
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.prompt import image_tokens
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.model.vocabulary import Vocabulary
from emu_planner.plan import Generation, Task, collect
from tests.engine.conftest import CONFIG, INSTRUCTION

V = Vocabulary.from_files({bytes([byte]): byte for byte in range(256)}, codes=40)
SEEDS = range(50)
SIZES = [(3, 4), (1, 9), (7, 1), (4, 6), (2, 2)]
WINDOWS = [1, 2, 5, 8, 64]
SEEN = np.random.default_rng(1).integers(0, V.codes, (4, 6))
PROMPT = [V.bos, *b"pick it", *image_tokens(V, SEEN), *b"so", V.bss, *b"lift"]
SAMPLINGS = {
    "greedy": Sampling(temperature=0.0),
    "sampled": Sampling(),
    "top-k": Sampling(temperature=0.8, top_k=9),
    "top-p": Sampling(top_k=30, top_p=0.7),
}


@pytest.fixture(scope="module")
def model() -> Transformer:
    """Random weights, large enough that every code depends on those before it."""
    model = Transformer(TransformerConfig(V.size, 32, 64, 2, 4, 2, 8, max_position_embeddings=256))
    model.initialise(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model.eval()


def start(model, decoder, *, seed=0, size=(4, 6), sampling=SAMPLINGS["sampled"], scale=1.0, **more):
    """A stream that begins with an image, after words of the seed, and the branches it runs on."""
    unconditional = [V.bos, *image_tokens(V, SEEN), V.bss] if scale != 1 else None
    branches = Branches(model, capacity=more.pop("capacity", 160), unconditional=unconditional)
    grammar = Grammar(V, size)
    words = np.random.default_rng(seed).integers(97, 123, 5).tolist()
    prompt = [*PROMPT, *words, V.boi]
    decoding = Decoding(sampling, sampling, scale)
    return decoder(branches, grammar, Sampler(seed), decoding, prompt, boi=V.boi, **more), branches


def codes_of(tokens):
    return [token.id for token in tokens if token.id >= V.first_visual]


def until_image_end(stream):
    tokens = list(itertools.takewhile(lambda token: token.id != V.eoi, stream))
    assert tokens
    return tokens


@pytest.mark.parametrize("scale", [1.0, 2.5], ids=["plain", "guided"])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_the_tokens_are_the_raster_decoders(model, sampling, scale):
    for seed in SEEDS:
        size, window = SIZES[seed % len(SIZES)], WINDOWS[seed // len(SIZES) % len(WINDOWS)]
        # the image, and words after it: they show that the cache and the chance left are the same too
        count = size[0] * (size[1] + 1) + 6 + 5
        same = {"seed": seed, "size": size, "sampling": sampling, "scale": scale}
        expected, _ = start(model, raster.generate, **same)
        found, _ = start(model, jacobi.generate, **same, config=JacobiConfig(window))
        assert_same(found, expected, count)


def assert_same(found, expected, count):
    found, expected = (list(itertools.islice(tokens, count)) for tokens in (found, expected))
    assert [(t.id, t.phase) for t in found] == [(t.id, t.phase) for t in expected]
    assert [t.logprob for t in found] == pytest.approx([t.logprob for t in expected], abs=1e-4)


def test_a_size_that_the_model_chooses(model):
    expected, _ = start(model, raster.generate, size=None, capacity=4000)
    found, _ = start(model, jacobi.generate, size=None, capacity=4000)
    assert_same(found, expected, 150)


def passes_of_image(model, guess=None, **settings):
    """Passes of the image's codes: guessed as told, or as the decoder does."""
    config = JacobiConfig(**settings)
    if guess is None:
        stream, branches = start(model, jacobi.generate, config=config)
    else:
        step = jacobi._ImageStep(config, guess)
        stream, branches = start(model, raster.generate, image_step=step)
    next(stream)
    before = branches.passes
    until_image_end(stream)
    return branches.passes - before


@pytest.mark.parametrize(("window", "passes"), [(1, 24), (6, 4), (7, 4), (64, 1)])
def test_right_guesses_are_taken_a_window_at_a_time(model, window, passes):
    codes = codes_of(until_image_end(start(model, raster.generate)[0]))
    assert passes_of_image(model, guess=codes, window=window) == passes


def test_a_wrong_guess_is_corrected_in_its_own_pass(model):
    codes = codes_of(until_image_end(start(model, raster.generate)[0]))
    codes[9] = V.first_visual if codes[9] > V.first_visual else codes[9] + 1
    # 0 to 7; 8, and 9 corrected; 10 to 17; 18 to 23: what pass two said after 9 spoils no later guess
    assert passes_of_image(model, guess=codes, window=8) == 4


def test_no_guess_costs_no_more_passes_than_raster(model):
    assert passes_of_image(model, window=8, previous=False) <= 24


def test_the_prompts_picture_is_the_first_guess():
    sees = Choice(V.first_visual, V.first_visual + V.codes)
    codes = (SEEN + V.first_visual).flatten().tolist()
    assert last_picture([*PROMPT, V.boi], sees, V.boi) == codes
    later = image_tokens(V, SEEN[:2])
    assert last_picture([*PROMPT, *later, V.boi], sees, V.boi) == codes[:12]
    assert last_picture([V.bos, V.boi], sees, V.boi) == []


def test_forced_tokens_after_codes_are_those_of_the_image_string():
    grammar = Grammar(V, (2, 3))
    image = image_tokens(V, [[0, 0, 0], [0, 0, 0]])
    for token in image[: image.index(V.img) + 1]:
        grammar.advance(token)
    assert forced_after_codes(grammar) == [[], [], [V.eol], [], [], [V.eoi]]
    assert grammar.codes_done == 0


def test_a_stop_ends_before_the_next_pass(model):
    asked = []

    def stopped():
        asked.append(True)
        return len(asked) > 3

    stream, branches = start(model, jacobi.generate, stopped=stopped, config=JacobiConfig(4))
    tokens = list(stream)
    assert len(asked) == 4
    assert branches.passes == 1 + 3
    assert [t.id for t in tokens] == [
        t.id for t in itertools.islice(start(model, raster.generate)[0], len(tokens))
    ]


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_full_context_ends_after_the_same_tokens(model, scale):
    def tokens_until_full(decoder):
        tokens = []
        stream, _ = start(model, decoder, capacity=len(PROMPT) + 24, scale=scale)
        try:
            for token in stream:
                tokens.append(token)
        except ContextFullError:
            return tokens
        raise AssertionError("there was room")

    found = tokens_until_full(jacobi.generate)
    assert len(codes_of(found)) > 5
    assert found == tokens_until_full(raster.generate)


def test_tokens_taken_back_may_come_again(model):
    branches = Branches(model, capacity=100)
    once = branches.extend_image(range(5, 13))[:, 5:]
    branches.retract_image(3)
    assert branches.length == 5
    assert torch.allclose(branches.extend_image(range(10, 13)), once, atol=1e-5)


def test_windows_end_with_the_longest_row_or_at_a_multiple(model):
    cache = StaticCache(model.config, rows=2, capacity=100)
    assert cache.append([0], 10).shown == 10
    assert cache.append([0, 1], 2, multiple_of=8).shown == 16
    assert cache.append([1], 52, multiple_of=64).shown == 64
    assert cache.append([1], 30, multiple_of=64).shown == 100


def test_a_planner_with_either_decoder_makes_the_same_plan(parts, frames):
    hot = replace(CONFIG, image=Sampling(temperature=1.5))
    planners = [EmuPlanner(*parts, replace(hot, decoder=name)) for name in ("raster", "jacobi")]
    for seed in range(5):
        task = Task(INSTRUCTION, Generation(seed=seed))
        expected, found = (list(planner.plan(task, frames)) for planner in planners)
        assert [type(event) for event in found] == [type(event) for event in expected]
        assert collect(INSTRUCTION, found) == collect(INSTRUCTION, expected)


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 code or more"):
        JacobiConfig(window=0)
