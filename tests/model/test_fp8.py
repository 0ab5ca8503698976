"""Float8 layers: what they round, what they keep, and what they refuse."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from emu_planner.model.blank import blank
from emu_planner.model.fp8 import GREATEST, Fp8Config, Fp8Linear, check_device, convert, quantise, to_fp8
from emu_planner.model.transformer import Transformer, TransformerConfig

CONFIG = TransformerConfig(61, 64, 96, 2, 4, 2, 16)


@pytest.fixture
def model():
    made = Transformer(CONFIG)
    made.initialise(0)
    return made.eval()


def layer(inputs=64, outputs=48, **more):
    linear = nn.Linear(inputs, outputs, bias=False)
    made = convert("weight", linear.weight.detach())
    return linear, Fp8Linear(made["weight"], made["scale"], Fp8Config(**more))


def test_every_row_has_a_scale_of_its_own():
    x = torch.randn(5, 32) * torch.tensor([1e-4, 1.0, 1e4, 0.0, 3.0])[:, None]
    rows, scales = quantise(x)
    assert rows.dtype == torch.float8_e4m3fn
    assert scales.shape == (5, 1)
    assert torch.equal(rows.float().abs().amax(dim=1), torch.tensor([1, 1, 1, 0, 1]) * GREATEST)
    # three bits after the first: within 1/16 of a value that is not tiny in its row
    large = x.abs() > x.abs().amax(dim=1, keepdim=True) / 100
    assert ((rows.float() * scales - x).abs() <= x.abs() / 16)[large].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("more", [{}, {"plain_rows": 0}, {"padded_rows": 16}], ids=str)
def test_a_product_is_that_of_the_rounded_values(dtype, more):
    linear, made = layer(**more)
    x = torch.randn(2, 3, 64).to(dtype)
    rows, scales = quantise(x.view(6, 64))
    expected = ((rows.float() * scales) @ (made.weight.float() * made.scale[:, None]).T).view(2, 3, 48)
    found = made(x)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=1e-5 if dtype == torch.float32 else 0.02)
    plain = x.float() @ linear.weight.T
    assert 0 < (expected - plain).norm() < 0.06 * plain.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_products_have_room_in_other_dtypes(dtype):
    _, made = layer(inputs=1024)
    x = torch.randn(3, 1024)
    found, expected = made(x.to(dtype)), made(x)
    assert found.dtype == dtype
    assert (found.float() - expected).norm() < 0.01 * expected.norm()


def test_a_gpu_without_float8_products_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Ancient A1")
    for capability, is_refused in {(8, 0): True, (8, 9): False, (9, 0): False}.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        with pytest.raises(ValueError, match="Ancient A1 .*without fp8") if is_refused else nullcontext():
            check_device(torch.device("cuda:0"))
    check_device(torch.device("cpu"))


def test_a_row_does_not_depend_on_those_beside_it():
    _, made = layer()
    x = torch.randn(4, 64) * torch.tensor([1.0, 100.0, 0.01, 7.0])[:, None]
    assert torch.allclose(made(x), torch.cat([made(row[None]) for row in x]), rtol=1e-6)


def test_a_models_blocks_are_replaced_and_nothing_else(model):
    plain, ids = copy.deepcopy(model), torch.arange(40)[None]
    to_fp8(model)
    kinds = {name.rpartition(".")[2]: type(part) for name, part in model.named_modules()}
    assert {kind for name, kind in kinds.items() if name.endswith("_proj")} == {Fp8Linear}
    assert kinds["lm_head"] is nn.Linear
    assert sum(t.nbytes for t in model.model.layers.state_dict().values()) < 0.3 * sum(
        t.nbytes for t in plain.model.layers.state_dict().values()
    )
    expected, found = plain(ids), model(ids)
    assert 0 < (found - expected).norm() < 0.1 * expected.norm()


def test_tensors_can_come_later(model):
    with blank():
        later = Transformer(CONFIG)
    to_fp8(later)
    state = {}
    for name, tensor in model.state_dict().items():
        inside = name.startswith("model.layers.") and name.endswith("_proj.weight")
        state |= convert(name, tensor) if inside else {name: tensor}
    later.load_state_dict(state, assign=True)
    to_fp8(model)
    ids = torch.arange(20)[None]
    assert torch.equal(later(ids), model(ids))


def test_a_size_that_has_no_float8_product_is_refused_and_left_alone():
    odd = Transformer(TransformerConfig(61, 24, 96, 1, 2, 1, 16))
    with pytest.raises(
        ValueError, match=r"q_proj has shape \[32, 24\]; float8 products need multiples of 16"
    ):
        to_fp8(odd)
    assert isinstance(odd.model.layers[0].mlp.up_proj, nn.Linear)
    with pytest.raises(ValueError, match="0 or more"):
        Fp8Config(padded_rows=-1)
