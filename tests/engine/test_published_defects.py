"""Known defects of the published inference code, one test each, showing what is right here.

Named as in baaivision/Emu3.5 at 8fcf1da. A result of the published code that rests on one of them
is no golden value.
"""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import emu_planner
from emu_planner.engine.answer import AnswerReader
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import StaticCache
from emu_planner.engine.generator import Generator
from emu_planner.engine.grammar import Phase
from emu_planner.engine.parts import Picture, Words
from emu_planner.engine.raster import Token
from emu_planner.engine.request import Request, Settings
from emu_planner.model.pixels import fit_area
from emu_planner.model.prompt import TEMPLATES, conditional_prompt, unconditional_prompt
from emu_planner.model.text import TextTokenizer
from emu_planner.model.transformer import SHORT_QUERY, Transformer, TransformerConfig

TOKENIZER = TextTokenizer({bytes([byte]): byte for byte in range(256)}, codes=32)
V = TOKENIZER.vocabulary
REFERENCE = np.random.default_rng(5).integers(0, 256, (40, 70, 3), dtype=np.uint8)
SQUARE = REFERENCE[:, :40]
SMALL = Settings(text_top_k=1, image_area=2048, max_new_tokens=60, aspect_ratio="2*3")


@pytest.fixture(scope="module")
def model():
    """Untrained; 4 heads of 24 are wider than the stream of 64, as 64 x 128 > 5120 are."""
    config = TransformerConfig(V.size, 64, 96, 2, 4, 2, 24, rms_norm_eps=1e-5, max_position_embeddings=700)
    model = Transformer(config)
    model.initialise(0)
    with torch.no_grad():
        model.lm_head.weight *= 40  # so that what a token sees decides what comes next
    return model.eval()


@pytest.fixture
def generator(model, parts, monkeypatch):
    """Draws at once whatever it is asked, of 10*10 if it may choose, and ends."""
    head, texts = model.head, []

    def biased(hidden, rows=None):
        logits = head(hidden, rows)
        if rows.start == 0 and rows.stop == V.first_visual:
            texts.append(rows)
            logits[..., V.boi if len(texts) % 2 else V.eos] += 10_000
        elif rows.start in (V.zero, V.zero + 1):
            logits[..., 0] += 10_000
        return logits

    monkeypatch.setattr(model, "head", biased)
    return Generator(model, parts[1], TOKENIZER)


def grid_of(generator, images=(), prompt="go", seed=1, **changes):
    request = Request("story", prompt, images, replace(SMALL, **changes))
    (picture,) = (part for part in generator.generate(request, seed=seed) if isinstance(part, Picture))
    return picture.grid


# ---- modeling_emu3.py --------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("new", [1, SHORT_QUERY + 4], ids=["short", "fused"])
def test_no_attention_path_leaves_out_the_norms_of_queries_and_keys(model, new):
    """The SDPA class skips q_norm and k_norm, and breaks where heads x head_dim is not the width.

    With queries normalised to zero all scores are equal, so the query projection cannot matter.
    """
    total = new + 20
    ids = torch.arange(total)[None]

    def last(query_weights):
        plain = Transformer(model.config)
        plain.load_state_dict(model.state_dict())
        for layer in plain.model.layers:
            layer.self_attn.q_norm.weight.zero_()
            layer.self_attn.q_proj.weight.copy_(query_weights)
        cache = StaticCache(model.config, rows=1, capacity=total)
        plain.hidden(ids[:, :20], cache=cache.append([0], 20))
        return plain.hidden(ids[:, 20:], cache=cache.append([0], new), position=20)

    shape = model.model.layers[0].self_attn.q_proj.weight.shape
    assert torch.equal(last(torch.ones(shape)), last(torch.randn(shape)))


# ---- logits_processor.py -----------------------------------------------------------------------


@torch.inference_mode()
def test_the_row_without_images_has_a_cache_of_its_own(model):
    """get_unconditional_logits stores the other branch's cache for the full-unconditional one."""
    grid = np.arange(6).reshape(2, 3)
    seen, bare = unconditional_prompt(TOKENIZER, [grid]), unconditional_prompt(TOKENIZER)
    prompt = conditional_prompt(TOKENIZER, TEMPLATES["story"], "go", [grid])
    branches = Branches(model, capacity=300, unconditional=seen, imageless=bare, boi=V.boi)
    branches.extend(prompt, image=False)
    image = [V.boi, *V.number(2), V.star, *V.number(2), V.img, V.first_visual, V.first_visual + 1]
    for token in image:  # the published fault begins at the second one
        hidden = branches.extend([token], image=True)
    for row, ids in enumerate((prompt, seen, bare)):
        alone = model.hidden(torch.tensor([[*ids, *image]]))[0, -1]
        assert torch.allclose(hidden[row], alone, atol=1e-4)


def test_the_weight_of_the_reference_images_reaches_the_guidance(generator):
    """image_cfg_scale is not handed on to the base class, so it is always 1 there."""
    changes = {"unconditional_type": "no_text_img_cfg", "image_top_k": 1}
    one, three = (grid_of(generator, (REFERENCE,), image_cfg_scale=scale, **changes) for scale in (1.0, 3.0))
    assert not np.array_equal(one, three)


@pytest.mark.parametrize(
    ("changes", "images"),
    [({}, (REFERENCE, SQUARE)), ({"force_same_image_size": False}, (REFERENCE,))],
    ids=["several", "one, sizes free"],
)
def test_sizes_that_may_differ_are_the_models_choice(generator, changes, images):
    """There the last reference image's size is parsed from the prompt and then forced.

    So is the size of the first generated image; see test_generator.py for those after it.
    """
    grid = grid_of(generator, images, aspect_ratio="auto", max_new_tokens=300, **changes)
    assert grid.shape == (10, 10)


def test_a_size_that_is_asked_for_holds_with_several_references(generator):
    """There the last reference image's size replaces it."""
    assert grid_of(generator, (REFERENCE, SQUARE)).shape == (2, 3)


# ---- inference.py, generation_utils.py ---------------------------------------------------------


def test_the_seed_decides_and_nothing_else_does(generator):
    """The published seed reaches Python's random only; torch draws as it likes."""
    grids = []
    for global_seed, seed in ((1, 7), (2, 7), (2, 8)):
        torch.manual_seed(global_seed)
        grids.append(grid_of(generator, seed=seed))
    assert np.array_equal(grids[0], grids[1])
    assert not np.array_equal(grids[1], grids[2])


def test_a_prompt_is_words_whatever_it_spells(generator):
    """There special tokens in the prompt act, and <|IMAGE|> in it is replaced by the images."""
    wicked = "<|IMAGE|><|extra_100|><|extra_204|><|image start|>"
    grid = np.zeros((1, 1), int)
    ids = conditional_prompt(TOKENIZER, TEMPLATES["story"], wicked, [grid])
    assert [ids.count(token) for token in (V.boi, V.bss, V.eos)] == [1, 1, 0]
    assert wicked in TOKENIZER.decode(ids)
    assert grid_of(generator, prompt=wicked).shape == (2, 3)


def test_an_answer_is_read_by_its_tokens_not_by_its_letters():
    """There the answer becomes text first, and words that spell a mark are cut out as one."""
    spelled = "<|extra_60|>no thought<|extra_61|> <|image start|>no image<|extra_101|>"
    tokens = [Token(token, Phase.TEXT) for token in TOKENIZER.encode_plain(spelled)]
    reader = AnswerReader(TOKENIZER, lambda grid: np.zeros((1, 1, 3), np.uint8), 1000)
    assert [part for part in reader.read(iter(tokens)) if isinstance(part, Words)] == [Words(spelled)]


# ---- input_utils.py, requirements --------------------------------------------------------------


def test_a_very_long_picture_keeps_a_width():
    """smart_resize gives it a side of 0."""
    assert fit_area(1000, 5, 4096) == (912, 16)


def test_no_version_of_transformers_is_needed():
    """The published code runs with transformers 4.48.2 alone; here none is imported."""
    for path in Path(emu_planner.__file__).parent.rglob("*.py"):
        # where it is installed: a plain loop of it is measured, and CLIP and SigLIP can be rewards
        if path.name in ("bench_engine_figures.py", "likeness.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "transformers" for name in names), path
