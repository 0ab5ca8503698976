"""Float8 passes of fewer pieces are those of Fp8Linear; what stands between products is what it says."""

import copy
import random

import pytest
import torch
from torch.nn import functional as F

from emu_planner.engine import fp8_pieces
from emu_planner.engine.branches import Branches
from emu_planner.engine.cache import StaticCache
from emu_planner.engine.fp8_pieces import Added
from emu_planner.engine.fused import can_fuse
from emu_planner.engine.fused_fp8 import FusedFp8Transformer, can_fuse_fp8
from emu_planner.engine.graphs import DeviceConfig, DeviceDecoder
from emu_planner.engine.raster import generate
from emu_planner.model.fp8 import to_fp8
from tests.engine.shared import VOCABULARY, random_ask, random_model, told
from tests.engine.test_fused import hidden_states

V = VOCABULARY


@pytest.fixture
def model():
    made = random_model()
    to_fp8(made)
    return made


def test_hidden_states_are_the_models(model):
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    expected = hidden_states(model, tokens, torch.float32)
    found = hidden_states(FusedFp8Transformer(model), tokens, torch.float32)
    # a value that lies between two float8 numbers may go either way
    assert (found - expected).norm() < 0.02 * expected.norm()
    assert (found - hidden_states(random_model(), tokens, torch.float32)).norm() > 0.02 * expected.norm()


def test_rows_may_have_the_same_positions(model):
    ids, same = torch.tensor([[3, 1, 4], [1, 5, 9]]), torch.arange(3)[None]

    def states(made, positions):
        cache = StaticCache(
            model.config, rows=2, capacity=8, device=torch.device("cpu"), dtype=torch.float32
        ).append([0, 1], 3)
        with torch.inference_mode():
            return made.hidden(ids, cache=cache, positions=positions)

    fused = FusedFp8Transformer(model)
    assert torch.equal(states(fused, same), states(fused, same.expand(2, -1)))


def test_float16_has_passes_of_its_layers():
    made = random_model(torch.float16)
    to_fp8(made)  # products without their scales have no room in it
    assert DeviceDecoder(made, DeviceConfig(fused=True))._few is made


def test_weights_are_moved_and_not_kept_twice(model):
    before, ids = copy.deepcopy(model), torch.arange(10)[None]
    first, again = FusedFp8Transformer(model), FusedFp8Transformer(model)
    a = model.model.layers[1].self_attn
    storages = {part.weight.untyped_storage().data_ptr() for part in (a.q_proj, a.k_proj, a.v_proj)}
    assert storages == {fused._layers[1].qkv.weight.untyped_storage().data_ptr() for fused in (first, again)}
    assert torch.equal(model(ids), before(ids))


def test_a_decoder_takes_the_passes_that_a_model_has(model):
    assert can_fuse_fp8(model)
    assert not can_fuse(model)
    assert isinstance(DeviceDecoder(model, DeviceConfig(fused=True))._few, FusedFp8Transformer)
    assert not can_fuse_fp8(random_model())


def test_answers_are_the_plain_decoders_until_rounding_parts_them(model):
    rng, same, count = random.Random(0), 0, 6
    decoder = DeviceDecoder(model, DeviceConfig(fused=True))
    for _ in range(count):
        ask = random_ask(rng)
        found = told(decoder.generate(decoder.branches(**ask.rows), *ask.arguments(), boi=V.boi), ask)
        expected = told(generate(Branches(model, **ask.rows), *ask.arguments(), boi=V.boi), ask)
        assert found[0] == expected[0]
        same += found == expected
    assert same >= count // 2


def test_what_is_added_to_the_stream_has_its_scales():
    made = torch.Generator().manual_seed(0)
    stream, given = (torch.randn(3, 32, generator=made) for _ in range(2))
    scales, scale, weight = torch.rand(3, 1), torch.rand(32), torch.rand(32)
    kept = stream.clone()
    rows, found = fp8_pieces.add_and_quantise(kept, Added(given, scales, scale), weight, 1e-6)
    assert torch.allclose(kept, stream + given * scales * scale)
    wanted = F.rms_norm(kept, (32,), weight, 1e-6)
    assert (rows.float() * found - wanted).abs().max() <= wanted.abs().max() / 16
    unscaled = stream.clone()
    fp8_pieces.add_and_quantise(unscaled, Added(given, None, None), weight, 1e-6)
    assert torch.allclose(unscaled, stream + given)
