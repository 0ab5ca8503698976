"""The same on a GPU: the published tokens, and answers that a seed brings back."""

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from emu_planner.engine.branches import Branches
from emu_planner.engine.generator import Generator
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.graphs import DeviceDecoder, best_attention
from emu_planner.engine.parts import Picture
from emu_planner.engine.raster import Decoding, generate
from emu_planner.engine.request import Request, Settings
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.engine.scheduler import Scheduler, SchedulerConfig
from emu_planner.model.transformer import attend
from tests import golden
from tests.engine.test_raster import CASES, size_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
GREEDY = Sampling(top_k=1)


@pytest.fixture(scope="module")
def on_gpu(published):
    return copy.deepcopy(published).cuda()


@pytest.mark.parametrize("case", CASES, ids=["fixed-size", "copied-size", "text-only", "fixed-size-cfg-5"])
def test_published_generations(on_gpu, published_vocabulary, case):
    v = published_vocabulary
    branches = Branches(on_gpu, capacity=256, unconditional=case["unc_prompt_ids"])
    tokens = generate(
        branches,
        Grammar(v, size_of(case)),
        Sampler(0, "cuda"),
        Decoding(GREEDY, GREEDY, case["cfg"]),
        case["prompt_ids"],
        boi=v.boi,
    )
    found = [token.id for token in itertools.islice(tokens, case["max_new_tokens"])]
    assert found == case["output_ids"]


def test_a_third_row_changes_codes_there_too(on_gpu, published_vocabulary):
    v, case, bare = published_vocabulary, CASES[1], golden.values("generation.json")[0]["unc_prompt_ids"]
    found = []
    for image_scale in (1.0, 3.0):
        branches = Branches(
            on_gpu, capacity=256, unconditional=case["unc_prompt_ids"], imageless=bare, boi=v.boi
        )
        decoding = Decoding(GREEDY, GREEDY, 3.0, image_scale)
        tokens = generate(
            branches, Grammar(v, (4, 4)), Sampler(0, "cuda"), decoding, case["prompt_ids"], boi=v.boi
        )
        found.append([token.id for token in itertools.islice(tokens, 24)])
    assert found[0] == case["output_ids"][:24]
    assert found[1] != found[0]


def test_the_seed_decides(parts):
    model, vision, tokenizer = (
        copy.deepcopy(part).cuda() if hasattr(part, "cuda") else part for part in parts
    )
    generator = Generator(model, vision, tokenizer)
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    settings = Settings(text_top_k=1, image_temperature=3.0, image_area=2048, max_new_tokens=60)
    request = Request("vla", "stack the blocks", (picture,), settings)
    first, again, other = (list(generator.generate(request, seed=seed)) for seed in (1, 1, 2))
    assert any(isinstance(part, Picture) for part in first)
    assert first == again
    assert first != other


def test_shared_sessions_get_the_tokens_they_have_alone(on_gpu, published_vocabulary):
    v = published_vocabulary
    scheduler = Scheduler(on_gpu, SchedulerConfig(cells=8 * 256))

    def tokens(case, branches, decode):
        made = decode(
            branches(capacity=256, unconditional=case["unc_prompt_ids"]),
            Grammar(v, size_of(case)),
            Sampler(0, "cuda"),
            Decoding(GREEDY, GREEDY, case["cfg"]),
            case["prompt_ids"],
            boi=v.boi,
        )
        return [token.id for token in itertools.islice(made, case["max_new_tokens"])]

    with ThreadPoolExecutor(len(CASES)) as threads:
        found = list(threads.map(lambda case: tokens(case, scheduler.branches, scheduler.generate), CASES))
    assert found == [case["output_ids"] for case in CASES]


@pytest.mark.parametrize("split", [False, True], ids=["model-attention", "split-attention"])
@pytest.mark.parametrize("case", CASES, ids=["fixed-size", "copied-size", "text-only", "fixed-size-cfg-5"])
def test_recorded_steps_give_the_published_tokens(on_gpu, published_vocabulary, case, split):
    v = published_vocabulary
    attend = best_attention(on_gpu) if split else None
    if split and attend is None:
        pytest.skip("no Triton")
    decoder = DeviceDecoder(on_gpu, attend=attend)
    for _ in range(2):  # recorded, and replayed for another answer
        tokens = decoder.generate(
            decoder.branches(capacity=256, unconditional=case["unc_prompt_ids"]),
            Grammar(v, size_of(case)),
            Sampler(0, "cuda"),
            Decoding(GREEDY, GREEDY, case["cfg"]),
            case["prompt_ids"],
            boi=v.boi,
        )
        found = [token.id for token in itertools.islice(tokens, case["max_new_tokens"])]
        assert found == case["output_ids"]
        del tokens


@pytest.mark.parametrize("image", [Sampling(), Sampling(0.8, 400, 0.9)], ids=["plain", "truncated"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_recorded_steps_give_the_plain_decoders_tokens_for_a_seed(on_gpu, published_vocabulary, image, rows):
    v, case, bare = published_vocabulary, CASES[1], golden.values("generation.json")[0]["unc_prompt_ids"]
    more = {"unconditional": case["unc_prompt_ids"] if rows > 1 else None, "capacity": 512}
    more |= {"imageless": bare, "boi": v.boi} if rows > 2 else {}
    decoding = Decoding(GREEDY, image, 3.0 if rows > 1 else 1.0, 2.0)
    decoder = DeviceDecoder(on_gpu, attend=best_attention(on_gpu))

    def tokens(decode, branches, seed):
        made = decode(
            branches, Grammar(v, (5, 7)), Sampler(seed, "cuda"), decoding, case["prompt_ids"], boi=v.boi
        )
        return [token.id for token in itertools.islice(made, 60)]

    plain = [tokens(generate, Branches(on_gpu, **more), seed) for seed in (1, 2, 1)]
    recorded = [tokens(decoder.generate, decoder.branches(**more), seed) for seed in (1, 2, 1)]
    assert recorded == plain
    assert recorded[0] == recorded[2] != recorded[1]


@pytest.mark.parametrize("apart", [True, False], ids=["queries", "queries-and-keys"])
@pytest.mark.parametrize("new", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_split_attention_is_attention(new, dtype, apart):
    pytest.importorskip("triton")
    from emu_planner.engine.flash_decoding import attend_split

    made = torch.Generator("cuda").manual_seed(0)
    q = torch.randn(3, 16, new, 128, generator=made, device="cuda").to(dtype)
    if not apart:  # as a joint product gives them
        q = torch.cat((q, q[:, :2]), dim=1).transpose(1, 2).contiguous().transpose(1, 2)[:, :16]
    keys, values = (torch.randn(3, 2, 4096, 128, generator=made, device="cuda").to(dtype) for _ in range(2))
    lengths = torch.tensor([0, 63, 4000], device="cuda")
    positions = lengths[:, None] + torch.arange(new, device="cuda")
    mask = torch.arange(4096, device="cuda") <= positions[:, None, :, None]
    expected = attend(q.double(), keys.double(), values.double(), mask)
    found = attend_split(q, keys, values, positions).double()
    assert (found - expected).abs().max() < (1e-5 if dtype == torch.float32 else 2e-2)
