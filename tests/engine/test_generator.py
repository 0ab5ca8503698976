"""Generator: whole answers of a real tiny model that knows one story by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emu_planner.engine import picture, raster
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.generator import Generator
from emu_planner.engine.parts import GlobalThought, ImageThought, Picture, Progress, Words
from emu_planner.engine.request import SETTINGS, Request, RequestError, Settings
from emu_planner.engine.sampler import Sampling
from emu_planner.model.checkpoint import CheckpointError, save_transformer, save_vision_tokenizer
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.pixels import fit_area, resize_bicubic
from emu_planner.model.prompt import TEMPLATES, conditional_prompt, image_tokens, mark_answer
from emu_planner.model.text import TextTokenizer, train_bpe, write_folder
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.plan import Stop
from tests.engine.conftest import learn

PROMPT = "a story of clay"
TEXTS = [PROMPT, "three scenes", "It wakes.", "a red plain", "It walks on."] * 3
CODES = 32
SIZES = ((10, 11), (12, 10))
GREEDY = Settings(
    classifier_free_guidance=1.0, text_top_k=1, image_top_k=1, force_same_image_size=False, image_area=2048
)
# at an area of 2048 px: 40 x 70 px become 32 x 64, 2*4 tokens; the square one is 3*3
REFERENCE = np.random.default_rng(5).integers(0, 256, (40, 70, 3), dtype=np.uint8)
SQUARE = REFERENCE[:, :40]


@pytest.fixture(scope="module")
def grids():
    rng = np.random.default_rng(2)
    return [rng.integers(0, CODES, size) for size in SIZES]


@pytest.fixture(scope="module")
def made(parts, grids):
    """A model that learned one answer: a thought, words, a thought, two pictures of its own sizes."""
    tokenizer = TextTokenizer(train_bpe(TEXTS, 40), codes=CODES)
    v = tokenizer.vocabulary
    say = tokenizer.encode_plain
    answer = [
        *(v.bog, *say("three scenes"), v.eog, *say("It wakes.")),
        *(v.boc, *say("a red plain"), v.eoc, *image_tokens(v, grids[0])),
        *(*say("It walks on."), *image_tokens(v, grids[1]), v.ess, v.eos),
    ]
    prompt = conditional_prompt(tokenizer, TEMPLATES["story"], PROMPT)
    model = Transformer(
        TransformerConfig(v.size, 64, 128, 2, 4, 2, 16, rms_norm_eps=1e-5, max_position_embeddings=700)
    )
    model.initialise(0)
    learn(model, mark_answer(v, prompt, answer), steps=150)
    return Generator(model.eval(), parts[1], tokenizer), answer


@pytest.fixture(scope="module")
def generator(made):
    return made[0]


def parts_of(generator, settings=GREEDY, task="story", prompt=PROMPT, images=(), **more):
    found = generator.generate(Request(task, prompt, images, settings), **more)
    return [part for part in found if not isinstance(part, Progress)]


def grids_of(parts):
    return [part.grid for part in parts if isinstance(part, Picture)]


def texts_of(parts):
    return [part for part in parts if not isinstance(part, Picture)]


def test_a_whole_answer(generator, grids):
    parts = parts_of(generator)
    assert texts_of(parts) == [
        GlobalThought("three scenes"),
        Words("It wakes."),
        ImageThought("a red plain"),
        Words("It walks on."),
    ]
    assert [type(part) for part in parts] == [GlobalThought, Words, ImageThought, Picture, Words, Picture]
    for found, expected in zip(grids_of(parts), grids, strict=True):
        assert np.array_equal(found, expected)


def test_a_picture_is_its_grid_decoded(generator, parts):
    drawn = next(part for part in parts_of(generator) if isinstance(part, Picture))
    assert drawn.rgb.shape == (16 * 10, 16 * 11, 3)
    assert drawn.rgb.dtype == np.uint8
    assert np.array_equal(drawn.rgb, picture.decode(parts[1], drawn.grid, ("all",)).rgb)


def test_progress_counts_every_token_of_the_answer(made):
    generator, answer = made
    told = [p for p in generator.generate(Request("story", PROMPT, (), GREEDY)) if isinstance(p, Progress)]
    counts = [progress.tokens for progress in told]
    assert counts == sorted(set(counts))
    assert counts[-1] == len(answer)
    prompt = len(conditional_prompt(generator.tokenizer, TEMPLATES["story"], PROMPT))
    assert {progress.limit for progress in told} == {700 - prompt}


@pytest.mark.parametrize("limit", [1, 30, 60])
def test_the_most_tokens_are_kept_to(generator, limit):
    settings = replace(GREEDY, max_new_tokens=limit)
    *rest, last = generator.generate(Request("story", PROMPT, (), settings))
    assert last == Progress(limit, limit)
    assert not any(isinstance(part, Picture) for part in rest)


def test_a_stop_ends_the_answer_and_drops_what_is_unfinished(generator):
    stop, found = Stop(), []
    for part in generator.generate(Request("story", PROMPT, (), GREEDY), stop=stop):
        found.append(part)
        if isinstance(part, ImageThought):
            stop.request()
    assert [type(part) for part in found if not isinstance(part, Progress)] == [
        GlobalThought,
        Words,
        ImageThought,
    ]
    assert isinstance(found[-1], Progress)


HOT = replace(GREEDY, text_top_k=0, text_temperature=1.2, image_top_k=0, image_temperature=3.0)


def test_the_seed_decides(generator):
    settings = replace(HOT, text_top_k=1)
    assert parts_of(generator, settings, seed=1) == parts_of(generator, settings, seed=1)
    assert parts_of(generator, settings, seed=1) != parts_of(generator, settings, seed=2)


def test_words_and_codes_are_sampled_apart(generator, grids):
    calm = parts_of(generator)
    hot_codes = parts_of(generator, replace(HOT, text_top_k=1, aspect_ratio="10*11"))
    assert texts_of(hot_codes)[:3] == texts_of(calm)[:3]
    assert not np.array_equal(grids_of(hot_codes)[0], grids[0])
    hot_words = parts_of(generator, replace(HOT, image_top_k=1, text_temperature=20.0))
    assert texts_of(hot_words)[:1] != texts_of(calm)[:1]


def test_truncation_is_that_of_its_mode(generator, grids):
    # top_p cuts to the most likely token where the model is sure, at a temperature of its own
    sure = replace(HOT, text_top_k=0, text_temperature=1.0, text_top_p=0.5, image_temperature=1.0)
    found = parts_of(generator, replace(sure, image_top_p=0.5), seed=9)
    assert found == parts_of(generator)


def test_two_answers_at_once_do_not_meet(generator):
    request = Request("story", PROMPT, (), replace(HOT, text_top_k=1))
    both = zip(generator.generate(request, seed=1), generator.generate(request, seed=2), strict=False)
    together = [pair for pair, _ in zip(both, range(12), strict=False)]
    alone = [list(generator.generate(request, seed=seed))[:12] for seed in (1, 2)]
    assert [list(side) for side in zip(*together, strict=True)] == alone


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_jacobi_decoder_gives_the_same_parts(folder, generator, scale):
    settings = replace(HOT, text_top_k=1, image_temperature=1.0, classifier_free_guidance=scale)
    settings = replace(settings, unconditional_type="no_text_img_cfg", image_cfg_scale=scale)
    request = Request("story", PROMPT, (SQUARE,), replace(settings, aspect_ratio="6*7"))
    found = []
    for decoder in ("raster", "jacobi"):
        loaded = Generator.load(folder, decoder=decoder)
        found.append([part for part in loaded.generate(request, seed=3) if not isinstance(part, Progress)])
    assert len(grids_of(found[0])) > 0
    assert found[0] == found[1]


# ---- what the model is given -------------------------------------------------------------------


@pytest.fixture
def seen(generator, monkeypatch):
    """What the decoder is called with; the model then draws one picture at once, and ends."""
    calls = []

    def spy(branches, grammar, sampler, decoding, prompt, **more):
        calls.append({"branches": branches, "decoding": decoding, "prompt": prompt, "asked": grammar.size})
        return raster.generate(branches, grammar, sampler, decoding, prompt, **more)

    monkeypatch.setattr(generator._decoder, "generate", spy)
    return calls


@pytest.fixture
def drawer(made, monkeypatch):
    """The generator with a head that asks for two pictures one after the other, and then ends."""
    generator = made[0]
    v, model = generator.tokenizer.vocabulary, generator._model
    head, texts = model.head, []

    def biased(hidden, rows=None):
        logits = head(hidden, rows)
        if rows.start == 0 and rows.stop == v.first_visual:
            texts.append(rows)
            logits[..., v.boi if len(texts) <= 2 else v.eos] += 1000
        return logits

    monkeypatch.setattr(model, "head", biased)
    return generator


def codes_of(generator, image, area):
    size = fit_area(*image.shape[:2], area)
    return picture.encode(generator._vision, resize_bicubic(image, *size))


@pytest.mark.parametrize("task", SETTINGS)
def test_prompts_hold_the_words_and_the_pictures_of_the_task(drawer, seen, task):
    parts_of(drawer, GREEDY, task, "make it blue", (REFERENCE, SQUARE))
    codes = [codes_of(drawer, image, 2048) for image in (REFERENCE, SQUARE)]
    assert codes[0].shape != codes[1].shape
    expected = conditional_prompt(drawer.tokenizer, TEMPLATES[task], "make it blue", codes)
    assert seen[0]["prompt"] == expected


def test_settings_reach_the_decoder(drawer, seen):
    settings = Settings(
        classifier_free_guidance=2.5,
        text_top_k=11,
        text_top_p=0.7,
        text_temperature=0.6,
        image_top_k=22,
        image_top_p=0.8,
        image_temperature=0.9,
        aspect_ratio="1*2",
        max_new_tokens=50,
    )
    parts_of(drawer, settings)
    decoding = seen[0]["decoding"]
    assert decoding.text == Sampling(0.6, 11, 0.7)
    assert decoding.image == Sampling(0.9, 22, 0.8)
    assert decoding.guidance_scale == 2.5


def test_without_settings_those_of_the_task_hold(drawer, seen):
    small = replace(SETTINGS["howto"], aspect_ratio="1*2", image_area=2048)
    parts = drawer._model, drawer._vision, drawer.tokenizer
    generator = Generator(*parts, settings={**SETTINGS, "howto": small}, decode=drawer._decoder.generate)
    list(generator.generate(Request("howto", "boil an egg")))
    assert seen[0]["decoding"].text == Sampling(0.7, 200, 0.8)
    assert seen[0]["asked"] == (1, 2)


@pytest.mark.parametrize(
    ("changes", "images", "rows"),
    [
        ({"classifier_free_guidance": 1.0}, 1, 1),
        ({"classifier_free_guidance": 3.0}, 1, 2),
        ({"classifier_free_guidance": 3.0, "unconditional_type": "no_text_img_cfg"}, 1, 2),
        (
            {
                "classifier_free_guidance": 3.0,
                "unconditional_type": "no_text_img_cfg",
                "image_cfg_scale": 1.5,
            },
            1,
            3,
        ),
        # without a weight of its own, image_cfg_scale belongs to the other mode
        ({"classifier_free_guidance": 3.0, "image_cfg_scale": 1.5}, 1, 2),
        (
            {
                "classifier_free_guidance": 1.0,
                "unconditional_type": "no_text_img_cfg",
                "image_cfg_scale": 1.5,
            },
            0,
            3,
        ),
    ],
)
def test_rows_are_those_that_have_a_weight(drawer, seen, monkeypatch, changes, images, rows):
    widths = []
    hidden = drawer._model.hidden
    monkeypatch.setattr(
        drawer._model, "hidden", lambda ids, **more: widths.append(len(ids)) or hidden(ids, **more)
    )
    settings = replace(GREEDY, aspect_ratio="2*2", **changes)
    assert len(grids_of(parts_of(drawer, settings, images=(REFERENCE,) * images))) == 2
    assert max(widths) == rows


@pytest.mark.parametrize(
    ("changes", "images", "asked"),
    [
        # asked for: every picture has that size, whatever was shown
        ({"aspect_ratio": "3*5"}, (), (3, 5)),
        ({"aspect_ratio": "3*5"}, (REFERENCE,), (3, 5)),
        ({"aspect_ratio": "1:1", "image_area": 16384}, (REFERENCE, SQUARE), (8, 8)),
        # one reference: its size
        ({}, (REFERENCE,), (2, 4)),
        ({"force_same_image_size": True}, (REFERENCE, SQUARE), (3, 3)),
        # several, or sizes may differ: the model chooses
        ({}, (REFERENCE, SQUARE), None),
        ({"force_same_image_size": False}, (REFERENCE,), None),
        ({}, (), None),
    ],
)
def test_the_size_of_pictures(drawer, seen, changes, images, asked):
    settings = replace(GREEDY, **{"force_same_image_size": None, **changes})
    grids = grids_of(parts_of(drawer, settings, images=images))
    assert seen[0]["asked"] == asked
    if asked:
        assert [grid.shape for grid in grids] == [asked, asked]
    else:
        assert all(10 <= side <= 99 for side in grids[0].shape)


def test_the_first_choice_holds_when_sizes_must_agree(generator, grids):
    free, same = (
        grids_of(parts_of(generator, replace(GREEDY, force_same_image_size=force))) for force in (False, None)
    )
    assert [grid.shape for grid in free] == list(SIZES)
    assert [grid.shape for grid in same] == [SIZES[0], SIZES[0]]


# ---- what cannot be done -----------------------------------------------------------------------


def test_a_prompt_without_room_is_refused_at_once(generator):
    with pytest.raises(RequestError, match=r"the prompt takes \d+ tokens and the model's context is 700"):
        generator.generate(Request("story", "go " * 700, (), GREEDY))
    many = replace(GREEDY, image_area=262144)
    with pytest.raises(RequestError, match="fewer reference images or a smaller image_area"):
        generator.generate(Request("x2i", "go", (REFERENCE,), many))


def test_a_seed_out_of_range_is_refused(generator):
    for seed in (-1, 2**64):
        with pytest.raises(RequestError, match=rf"the seed is {seed}; expected 0 to 2\^64 - 1"):
            generator.generate(Request("story", PROMPT, (), GREEDY), seed=seed)


def test_a_picture_without_room_is_refused_at_once(generator):
    for changes, words in (
        ({"aspect_ratio": "40*40"}, r"40\*40 tokens takes 1647; the answer has room for \d+ .*context 700"),
        ({"aspect_ratio": "9*9", "max_new_tokens": 90}, r"9\*9 tokens takes 95; .* 90 \(max_new_tokens 90"),
    ):
        with pytest.raises(RequestError, match=words):
            generator.generate(Request("story", PROMPT, (), replace(GREEDY, **changes)))


@pytest.mark.parametrize(("room", "pictures"), [(95, 1), (2 * 95 - 1, 1), (2 * 95, 2)])
def test_the_room_that_a_picture_needs_is_exact(drawer, room, pictures):
    settings = replace(GREEDY, aspect_ratio="9*9", max_new_tokens=room)
    assert len(grids_of(parts_of(drawer, settings))) == pictures


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.fixture
def folder(generator, tmp_path):
    folder = tmp_path / "checkpoint"
    save_transformer(generator._model, folder)
    save_vision_tokenizer(generator._vision, folder)
    write_folder(folder, train_bpe(TEXTS, 40), CODES)
    return folder


def test_a_folder_answers_as_its_parts_do(generator, folder):
    loaded = Generator.load(folder)
    assert loaded.settings == SETTINGS
    assert parts_of(loaded) == parts_of(generator)


def test_the_vision_tokenizer_may_lie_apart(generator, folder, tmp_path):
    (folder / "vision_tokenizer").rename(tmp_path / "eyes")
    with pytest.raises(CheckpointError, match="vision_tokenizer"):
        Generator.load(folder)
    assert parts_of(Generator.load(folder, vision=tmp_path / "eyes")) == parts_of(generator)


def test_planner_json_gives_the_defaults_of_vla(folder):
    PlannerConfig(
        views=("front",), picture_width=64, picture_height=32, text=Sampling(0.0), guidance_scale=1.0
    ).save(folder)
    loaded = Generator.load(folder)
    vla = loaded.settings["vla"]
    assert (vla.image_area, vla.text_temperature, vla.classifier_free_guidance) == (2048, 0.0, 1.0)
    assert {**loaded.settings, "vla": None} == {**SETTINGS, "vla": None}


def test_parts_of_different_checkpoints_are_refused(generator):
    vision = VisionTokenizer(replace(generator._vision.config, n_embed=8))
    with pytest.raises(CheckpointError, match="not of one checkpoint"):
        Generator(generator._model, vision, generator.tokenizer)


def test_the_state_of_torch_is_left_alone(generator):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    parts_of(generator, replace(HOT, text_top_k=1))
    assert torch.equal(before, torch.random.get_rng_state())
