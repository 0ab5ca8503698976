"""Float8 and shared models on GPUs: kernels do what torch's pieces do, recorded passes what plain ones do."""

import random

import pytest
import torch

from emu_planner.engine import fp8_pieces
from emu_planner.engine.branches import Branches
from emu_planner.engine.fp8_pieces import Added
from emu_planner.engine.fused_fp8 import FusedFp8Transformer, best_pieces
from emu_planner.engine.graphs import DeviceDecoder, best_attention
from emu_planner.engine.raster import generate
from emu_planner.engine.sampler import Sampler
from emu_planner.model.fp8 import Fp8Config, Fp8Linear, convert, quantise, quantise_plainly, to_fp8
from tests.engine.shared import VOCABULARY, random_ask, random_model, told
from tests.engine.test_together import run_two
from tests.engine.two_processes import CHECKS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(scope="module")
def kernels():
    pytest.importorskip("triton")
    from emu_planner.engine import fp8_kernels

    return fp8_kernels


def randn(*shape, dtype=torch.float32, seed=0):
    made = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(shape, generator=made, device="cuda").to(dtype)


def assert_rows_agree(found, expected):
    """Rounding of what stood before may move a value to the next float8 number, now and then."""
    (rows, scales), (wanted, wanted_scales) = found, expected
    assert torch.allclose(scales, wanted_scales, rtol=1e-2)
    rows, wanted = rows.float() * scales, wanted.float() * wanted_scales
    assert (rows - wanted).norm() < 0.02 * wanted.norm()
    assert ((rows - wanted).abs() <= wanted.abs() / 7 + wanted_scales / 64).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [64, 5120, 25_600])
def test_rows_are_quantised_as_by_torch(kernels, size, dtype):
    x = randn(3, size, dtype=dtype) * torch.tensor([[1.0], [1e-3], [300.0]], device="cuda").to(dtype)
    x[1, 7] = 0
    found, expected = quantise(x), quantise_plainly(x)
    assert_rows_agree(found, expected)
    assert (found[0].view(torch.uint8) == expected[0].view(torch.uint8)).float().mean() > 0.99
    assert quantise(torch.zeros(1, size, device="cuda", dtype=dtype))[0].float().abs().max() == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pieces_between_products_are_those_of_torch(kernels, dtype):
    made, scales = randn(3, 5120, dtype=dtype) * 100, randn(3, 1, seed=1).abs() / 100
    scale, weight = randn(5120, seed=2).abs(), randn(5120, dtype=dtype, seed=3)
    for added in (None, Added(made, scales, scale), Added(made, None, None)):
        streams = [randn(3, 5120, dtype=dtype, seed=4) for _ in range(2)]
        found, expected = (
            pieces.add_and_quantise(stream, added, weight, 1e-6)
            for pieces, stream in zip((kernels, fp8_pieces), streams, strict=True)
        )
        assert_rows_agree(found, expected)
        assert torch.allclose(*streams, rtol=1e-2)
    found, expected = (pieces.gate_and_quantise(made, scales, scale) for pieces in (kernels, fp8_pieces))
    assert_rows_agree(found, expected)
    norms = randn(36, 128, dtype=dtype, seed=5)
    angles = torch.arange(64, device="cuda")[None] * torch.tensor([[0.1], [0.2], [0.3]], device="cuda")
    angles = torch.cat((angles, angles), dim=1)
    rope = angles.cos().to(dtype), angles.sin().to(dtype)
    found, expected = (
        pieces.scale_and_rotate(made, scales, scale, norms, rope, 1e-6) for pieces in (kernels, fp8_pieces)
    )
    assert found.shape == (3, 40, 128)
    assert torch.allclose(found, expected, rtol=1e-2, atol=1e-2 if dtype == torch.bfloat16 else 1e-4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 17, 200])
@pytest.mark.parametrize("more", [{}, {"padded_rows": 16}, {"fast_sums": False}], ids=str)
def test_products_are_those_of_the_rounded_values(rows, dtype, more):
    made = convert("weight", randn(512, 1024))
    linear = Fp8Linear(made["weight"], made["scale"], Fp8Config(**more))
    x = randn(rows, 1024, dtype=dtype, seed=1)
    read, scales = quantise(x)
    expected = (read.double() * scales) @ (made["weight"].double() * made["scale"][:, None]).T
    # the tensor cores' sums have fewer bits than float32
    assert (linear(x).double() - expected).norm() < 0.01 * expected.norm()


def test_a_recorded_pass_is_that_of_fp8_layers(kernels):
    model = random_model(torch.bfloat16).cuda()
    to_fp8(model)
    assert best_pieces(model) is kernels
    rng = random.Random(0)
    decoder = DeviceDecoder(model, attend=best_attention(model))
    assert isinstance(decoder._few, FusedFp8Transformer)
    same = 0
    for _ in range(8):
        ask = random_ask(rng)

        def tokens(decode, branches, ask=ask):
            grammar, sampler, *rest = ask.arguments()
            given = grammar, Sampler(sampler.seed, "cuda"), *rest
            return told(decode(branches, *given, boi=VOCABULARY.boi), ask)

        plain = tokens(generate, Branches(model, **ask.rows))
        found = [tokens(decoder.generate, decoder.branches(**ask.rows)) for _ in range(2)]
        assert found[0] == found[1]  # recorded, and replayed
        assert found[0][0] == plain[0]
        same += found[0] == plain
    assert same  # rounding parts the others, at some token


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if torch.cuda.device_count() < 2:
        pytest.skip("torch finds fewer than two GPUs")
    return run_two(tmp_path_factory.mktemp("two"), "cuda")


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_two_gpus(found, check):
    assert [report.get(check, report) for report in found] == ["", ""]
