"""The transformer gives the published code's logits, cached or not, and transformers' too."""

import pytest
import torch

from emu_planner.model.transformer import Transformer, TransformerConfig, attend, attend_short, mask_scores
from tests import golden


@pytest.fixture(scope="module")
def model() -> Transformer:
    spec = golden.values("lm_weights.json")
    transformer = Transformer(TransformerConfig(**spec["config"])).eval()
    transformer.load_state_dict(golden.weights(spec))
    return transformer


@pytest.fixture(scope="module")
def expected() -> dict:
    return golden.values("lm_logits.json")


class ListCache:
    """The plainest cache there can be."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(self, layer, k, v):
        if layer in self.kept:
            k, v = (torch.cat((old, new), dim=2) for old, new in zip(self.kept[layer], (k, v), strict=True))
        self.kept[layer] = (k, v)
        return k, v


@torch.inference_mode()
def test_logits_are_the_published_ones(model, expected):
    logits = model(torch.tensor([expected["input_ids"]]))[0]
    top = torch.tensor(expected["top20_logits"])
    assert (logits.gather(1, torch.tensor(expected["top20_ids"])) - top).abs().max() < 1e-4
    assert (logits.logsumexp(1) - torch.tensor(expected["logsumexp"])).abs().max() < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("chunks", [[46], [20, 1, 1, 1, 3, 20], [1] * 46])
def test_cached_steps_agree_with_one_pass(model, expected, chunks):
    ids = torch.tensor([expected["input_ids"]])
    cache, position, parts = ListCache(), 0, []
    for chunk in chunks:
        parts.append(model(ids[:, position : position + chunk], cache=cache, position=position))
        position += chunk
    assert (torch.cat(parts, dim=1) - model(ids)).abs().max() < 1e-4


@torch.inference_mode()
def test_packed_documents_do_not_see_each_other(model, expected):
    ids = torch.tensor([expected["input_ids"]])
    length = ids.shape[1]
    packed = torch.cat((ids, ids), dim=1)
    document = torch.arange(2).repeat_interleave(length)
    mask = (document[:, None] == document) & torch.ones(2 * length, 2 * length).tril().bool()
    positions = torch.arange(length).repeat(2)[None]
    hidden = model.hidden(packed, positions=positions, mask=mask[None, None])
    assert (hidden[:, length:] - model.hidden(ids)).abs().max() < 1e-4


@torch.inference_mode()
def test_head_rows_are_a_slice_of_all_logits(model, expected):
    ids = torch.tensor([expected["input_ids"]])
    assert torch.equal(model(ids, rows=slice(100, 200)), model(ids)[..., 100:200])


def test_short_attention_is_attention():
    generator = torch.Generator().manual_seed(0)
    k, v = (torch.randn(2, 2, 40, 16, generator=generator) for _ in range(2))
    for new in (1, 5):
        q = torch.randn(2, 6, new, 16, generator=generator)
        seen = torch.ones(1, 1, new, 40, dtype=torch.bool).tril(40 - new)
        mask = mask_scores(None, new, 40, q.device)
        assert (attend_short(q, k, v, mask) - attend(q, k, v, seen)).abs().max() < 1e-5


@torch.inference_mode()
def test_tensors_load_into_transformers_qwen3(expected):
    transformers = pytest.importorskip("transformers")
    config = TransformerConfig(
        vocab_size=300, hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    ours = Transformer(config).eval()
    ours.initialise(seed=1)
    theirs = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**config.__dict__, tie_word_embeddings=False, attn_implementation="eager")
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.arange(0, 300, 7)[None]
    assert (ours(ids) - theirs(ids).logits).abs().max() < 1e-4


def test_heads_must_divide():
    with pytest.raises(ValueError, match="num_attention_heads 5 is not a multiple"):
        TransformerConfig(10, 8, 8, 1, 5, 2)
