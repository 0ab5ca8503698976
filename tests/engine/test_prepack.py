"""Packed linear layers give the plain model's values."""

import copy

import pytest
import torch
from torch import nn

from emu_planner.engine.prepack import prepack
from emu_planner.model.transformer import Transformer, TransformerConfig


@pytest.fixture
def model():
    model = Transformer(TransformerConfig(60, 64, 96, 2, 4, 2, 16, rms_norm_eps=1e-5)).eval()
    model.initialise(0)
    return model


def test_other_types_stay_as_they_are(model):
    assert not prepack(model)
    assert isinstance(model.model.layers[0].mlp.up_proj, nn.Linear)


@torch.inference_mode()
def test_packed_is_plain(model):
    plain = model.to(torch.bfloat16)
    packed = copy.deepcopy(plain)
    if not prepack(packed):
        pytest.skip("this CPU or torch has no packed bfloat16 products")
    assert not isinstance(packed.model.layers[0].mlp.up_proj, nn.Linear)
    for ids in (torch.arange(40).view(1, 40), torch.arange(6).view(2, 3)):
        assert torch.allclose(packed(ids), plain(ids), atol=2e-2)
