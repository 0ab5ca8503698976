"""The pass of fewer, larger pieces is the model's pass."""

import copy

import pytest
import torch

from emu_planner.engine.cache import StaticCache
from emu_planner.engine.fused import FusedTransformer, can_fuse
from emu_planner.engine.prepack import PackedLinear
from emu_planner.engine.step import PassRegisters, read_token
from emu_planner.model.transformer import Transformer, TransformerConfig

CONFIG = TransformerConfig(50, 48, 96, 3, 6, 2, 16, rms_norm_eps=1e-5)


@pytest.fixture
def model():
    made = Transformer(CONFIG)
    made.initialise(0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.named_parameters():
        # norms that differ between each other, and weights that matter
        parameter.data *= 0.5 + torch.rand(parameter.shape, generator=generator) * (
            1.0 if "norm" in name else 8.0
        )
    return made.eval()


@torch.inference_mode()
def hidden_states(model, tokens, dtype):
    """After each of some tokens, one at a time, in two rows of which one began earlier."""
    cache = StaticCache(CONFIG, rows=2, capacity=32, dtype=dtype)
    registers, found = PassRegisters(model, cache), []
    for place, token in enumerate(tokens):
        registers.read.copy_(torch.tensor([token, place, place + 5]))
        read_token(model, registers, 32)
        found.append(registers.hidden.clone())
    return torch.stack(found)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)]
)
def test_hidden_states_are_the_models(model, dtype, tolerance):
    model, tokens = model.to(dtype), [3, 1, 4, 1, 5, 9, 2, 6]
    expected = hidden_states(model, tokens, dtype)
    found = hidden_states(FusedTransformer(model), tokens, dtype)
    assert expected.float().std() > 0.5
    assert (found - expected).abs().max() < tolerance


def test_weights_are_moved_and_not_kept_twice(model):
    before, ids = copy.deepcopy(model), torch.arange(10)[None]
    first = FusedTransformer(model)
    again = FusedTransformer(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name))
    attention = model.model.layers[1].self_attn
    storages = {
        part.weight.untyped_storage().data_ptr()
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    }
    assert storages == {fused._layers[1].qkv.untyped_storage().data_ptr() for fused in (first, again)}
    assert torch.equal(model(ids), before(ids))


def test_other_products_are_left_as_they_are(model):
    assert can_fuse(model)
    packed = PackedLinear.__new__(PackedLinear)
    torch.nn.Module.__init__(packed)
    model.model.layers[2].mlp.up_proj = packed
    assert not can_fuse(model)
