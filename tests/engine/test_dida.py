"""The DiDA decoder on random weights: passes, rows, memory, chance; what it draws is tested with training."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from emu_planner.engine import dida, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import ContextFullError
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.dida import DidaConfig
from emu_planner.engine.generator import Generator
from emu_planner.engine.grammar import Grammar, Phase
from emu_planner.engine.planner import EmuPlanner
from emu_planner.engine.raster import Decoding, Draft, Token
from emu_planner.engine.request import Request, Settings
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.checkpoint import CheckpointError
from emu_planner.model.metric_path import PathConfig
from emu_planner.model.prompt import image_tokens
from emu_planner.plan import Generation, KeyframeProgress, StepComplete, Task
from tests.engine.conftest import CONFIG, INSTRUCTION
from tests.engine.shared import VOCABULARY as V
from tests.engine.shared import random_model

SEEN = np.random.default_rng(1).integers(0, V.codes, (4, 6))
CODES = torch.randn(V.codes, 8, generator=torch.Generator().manual_seed(0))
PROMPT = [V.bos, *b"pick it", *image_tokens(V, SEEN), V.bss, *b"lift"]
UNCONDITIONAL = [V.bos, *image_tokens(V, SEEN), V.bss]
SIZE = (3, 4)
HOT = Sampling()


@pytest.fixture(scope="module")
def model():
    return random_model()


def start(model, *, seed=0, steps=4, scale=1.0, opened=True, **more):
    """A stream whose prompt ends with BOI, or with words, and the branches it runs on."""
    rows = {"unconditional": UNCONDITIONAL if scale != 1 else None}
    rows |= {name: more.pop(name) for name in ("imageless", "boi") if name in more}
    branches = Branches(model, capacity=more.pop("capacity", 120), **rows)
    config = DidaConfig(steps=steps, guided_until=more.pop("guided_until", 0.9))
    prompt = [*PROMPT, V.boi] if opened else PROMPT
    stream = dida.generate(
        branches, Grammar(V, SIZE), Sampler(seed), Decoding(HOT, HOT, scale), prompt,
        boi=V.boi, config=config, codes=CODES, **more,
    )  # fmt: skip
    return stream, branches


def through_image(stream):
    return list(itertools.takewhile(lambda item: isinstance(item, Draft) or item.id != V.eoi, stream))


def codes_of(items):
    return [item.id for item in items if isinstance(item, Token) and item.id >= V.first_visual]


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_picture_takes_as_many_passes_as_asked(model, steps):
    stream, branches = start(model, steps=steps)
    items = through_image(stream)
    assert branches.passes == 1 + steps  # the prompt, and the picture
    drafts = [item for item in items if isinstance(item, Draft)]
    assert drafts == [Draft(done, steps) for done in range(1, steps)]
    tokens = [item for item in items if isinstance(item, Token)]
    expected = image_tokens(V, np.array(codes_of(items)).reshape(SIZE) - V.first_visual)
    assert [token.id for token in tokens] == expected[1:-1]
    assert all(token.phase is Phase.IMAGE for token in tokens if token.id >= V.first_visual)


def test_the_pass_after_a_picture_reads_it_as_raster_would(model):
    stream, branches = start(model)
    items, word = through_image(stream), next(stream)
    assert branches.passes == 1 + 4 + 1
    assert branches.length == len(PROMPT) + len(image_tokens(V, np.zeros(SIZE, int)))
    # the same picture, written token by token
    tokens = [V.boi, *(item.id for item in items if isinstance(item, Token)), V.eoi]
    plain = Branches(model, capacity=120)
    plain.extend(PROMPT, image=False)
    hidden = plain.extend(tokens, image=True)
    logits = plain.logits(hidden[0], 0, V.first_visual).clone()
    logits[list(Grammar(V).choice().forbidden)] = -torch.inf
    assert float(logits.log_softmax(-1)[word.id]) == pytest.approx(word.logprob, abs=1e-4)


def test_the_seed_decides(model):
    first, again, other = (codes_of(through_image(start(model, seed=seed)[0])) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("rows", "scale"),
    [({}, 2.0), ({"imageless": [V.bos, V.bss], "boi": V.boi}, 2.0)],
    ids=["two rows", "three rows"],
)
def test_guidance_counts_until_it_is_cut_off(model, rows, scale):
    """Past the cut only row 0 is computed, and the rows' memory stays in step all the same."""
    looked = []

    def watched(branches):
        look = branches.look_at_block

        def spy(tokens, block, *, guided):
            hidden = look(tokens, block, guided=guided)
            looked.append(len(hidden))
            return hidden

        branches.look_at_block = spy

    stream, branches = start(model, scale=scale, steps=4, guided_until=0.5, **rows)
    watched(branches)
    through_image(stream)
    count = 2 + len(rows) // 2
    assert looked == [count, count, 1, 1]
    next(stream)  # all rows read the picture
    image = len(image_tokens(V, np.zeros(SIZE, int)))
    assert branches.length == len(PROMPT) + image
    assert branches.room == 120 - branches.length
    unguided = codes_of(through_image(start(model)[0]))
    assert codes_of(through_image(start(model, scale=scale, guided_until=0.0, **rows)[0])) == unguided
    assert codes_of(through_image(start(model, scale=scale, guided_until=1.0, **rows)[0])) != unguided


def test_a_stop_ends_before_the_next_pass(model):
    asked = []

    def stopped():
        asked.append(True)
        return len(asked) > 2

    stream, branches = start(model, steps=8, stopped=stopped)
    items = list(stream)
    assert [item for item in items if isinstance(item, Draft)] == [Draft(1, 8), Draft(2, 8)]
    assert codes_of(items) == []
    assert branches.passes == 1 + 2


def test_a_picture_without_room_is_not_begun(model):
    stream, _ = start(model, capacity=len(PROMPT) + 15)
    with pytest.raises(ContextFullError):
        list(stream)


def test_words_are_the_raster_decoders(model):
    stream, _ = start(model, opened=False)
    plain = raster.generate(
        Branches(model, capacity=120), Grammar(V, SIZE), Sampler(0), Decoding(HOT, HOT), PROMPT, boi=V.boi
    )
    for found, expected in itertools.islice(zip(stream, plain, strict=False), 30):
        if found.phase is not Phase.TEXT or expected.phase is not Phase.TEXT:
            break
        assert found == expected


ADAPTED = replace(CONFIG, decoder="dida", dida=DidaConfig(steps=3))


def test_a_plan_tells_each_pass_as_progress(parts, frames):
    planner = EmuPlanner(*parts, ADAPTED)
    events = list(planner.plan(Task(INSTRUCTION, Generation(seed=1, max_subgoals=1)), frames))
    progress = [event for event in events if isinstance(event, KeyframeProgress)]
    height, width = planner.size
    total = height * width
    rows = range(width, total + 1, width)
    told = [total // 3, 2 * total // 3, *(done for done in rows if done > 2 * total // 3)]
    assert [event.tokens_done for event in progress] == told  # it never goes back
    (step,) = (event for event in events if isinstance(event, StepComplete))
    assert step.step.keyframe.rgb.shape == (32, 64, 3)
    assert step.timing.keyframe_s > 0
    shared = list(
        EmuPlanner(*parts, ADAPTED, plans=2).plan(
            Task(INSTRUCTION, Generation(seed=1, max_subgoals=1)), frames
        )
    )
    assert [type(event) for event in shared] == [type(event) for event in events]
    assert np.array_equal(
        next(e for e in shared if isinstance(e, StepComplete)).step.keyframe.rgb, step.step.keyframe.rgb
    )


def test_an_answer_counts_tokens_not_drafts(parts):
    settings = Settings(aspect_ratio="4*8", max_new_tokens=60, classifier_free_guidance=1.0)
    model, vision, tokenizer = parts
    decode = ADAPTED.generate(vision.codes)
    generator = Generator(model, vision, tokenizer, decode=decode)
    found = list(generator.generate(Request("t2i", INSTRUCTION, settings=settings), seed=1))
    assert found[-1].tokens <= 60


def test_planner_json_carries_the_path_of_the_adaptation(tmp_path):
    path = PathConfig(c=2.0, alpha=0.5, shift=3.0)
    config = replace(ADAPTED, dida=DidaConfig(steps=5, guided_until=0.7, path=path))
    config.save(tmp_path)
    assert PlannerConfig.from_folder(tmp_path) == config
    (tmp_path / "planner.json").write_text('{"dida": {"steps": 0}}')
    with pytest.raises(CheckpointError, match="steps is 0"):
        PlannerConfig.from_folder(tmp_path)


def test_a_model_that_is_not_adapted_refuses():
    with pytest.raises(ValueError, match="not adapted to it .* train dida"):
        replace(CONFIG, decoder="dida")
