"""The vision tokenizer gives the published code's ids and pictures."""

import cv2
import numpy as np
import pytest
import torch

from emu_planner.model import ibq, pixels
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.precision import exact_float32
from tests import golden


@pytest.fixture(scope="module")
def tokenizer() -> VisionTokenizer:
    spec = golden.values("ibq_weights.json")
    size = spec["ddconfig"]
    config = VisionConfig(
        ch=size["ch"], ch_mult=tuple(size["ch_mult"]), num_res_blocks=size["num_res_blocks"],
        z_channels=size["z_channels"], embed_dim=spec["embed_dim"], n_embed=spec["n_embed"],
    )  # fmt: skip
    model = VisionTokenizer(config).eval()
    model.load_state_dict(golden.weights(spec))
    return model


def picture(name: str) -> np.ndarray:
    """A golden image, [H, W, 3]; the largest is kept without loss in a smaller form."""
    path = golden.FOLDER / name
    bgr = cv2.imread(str(path if path.exists() else path.with_suffix(".webp")))
    return np.ascontiguousarray(bgr[..., ::-1])


CASES = golden.values("ibq.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["image"])
def test_codes_and_pictures_are_the_published_ones(tokenizer, case):
    rgb = picture(case["image"])
    height, width = pixels.fit_area(*rgb.shape[:2], case["image_area"])
    assert [width, height] == case["resized"]
    ids = tokenizer.encode(pixels.to_input(pixels.resize_bicubic(rgb, height, width)))
    assert ids[0].tolist() == case["token_ids"]
    with torch.inference_mode():
        decoded = tokenizer.reconstruct(tokenizer.quantize.embedding(ids).permute(0, 3, 1, 2))
    assert torch.allclose(decoded.mean(dim=(0, 2, 3)), torch.tensor(case["decode_mean"]), atol=1e-3)
    assert torch.allclose(decoded.std(dim=(0, 2, 3)), torch.tensor(case["decode_std"]), atol=1e-3)
    corner = decoded[0, :, :8, :8] if np.ndim(case["decode_corner"]) == 3 else decoded[0, 0, :8, :8]
    assert torch.allclose(corner, torch.tensor(case["decode_corner"]), atol=1e-3)


def test_tiles_find_the_nearest_of_all_codes(tokenizer, monkeypatch):
    z = torch.randn(2, 32, 5, 7, generator=torch.Generator().manual_seed(0))
    weight = tokenizer.quantize.embedding.weight
    expected = torch.einsum("bdhw,nd->bnhw", z, weight).argmax(dim=1)
    for rows, codes in ((1, 512), (3, 100), (70, 1)):
        monkeypatch.setattr(ibq, "_TILE_ROWS", rows)
        monkeypatch.setattr(ibq, "_TILE_CODES", codes)
        assert torch.equal(tokenizer.quantize.nearest(z), expected)


def test_of_equal_codes_the_first_is_taken(monkeypatch):
    config = VisionConfig(ch=32, ch_mult=(1,), num_res_blocks=1, z_channels=32, embed_dim=2, n_embed=4)
    codebook = ibq.Codebook(config)
    codebook.embedding.weight.data = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    monkeypatch.setattr(ibq, "_TILE_CODES", 2)
    assert codebook.nearest(torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)).item() == 1


def test_encoding_is_exact_whatever_the_process_allows(tokenizer):
    seen = []
    conv = tokenizer.encoder.conv_in
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    handle = conv.register_forward_hook(
        lambda *_: seen.append([setting.fp32_precision for setting in settings])
    )
    images = torch.zeros(1, 3, 16, 16)
    before = [setting.fp32_precision for setting in settings]
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with torch.autocast("cpu", torch.bfloat16):
            z = tokenizer.latent(images)
            tokenizer.encode(images)
        assert z.dtype == torch.bfloat16
        assert seen == [["tf32", "tf32", before[2]], ["ieee"] * 3]
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        handle.remove()
        torch.backends.cuda.matmul.fp32_precision = before[1]
    assert [setting.fp32_precision for setting in settings] == before


def test_the_last_of_several_encoders_puts_the_settings_back():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    first, second = exact_float32("cpu"), exact_float32("cpu")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert conv.fp32_precision == "ieee"
    second.__exit__(None, None, None)
    assert conv.fp32_precision == before != "ieee"


def test_patches_keep_the_grid():
    config = VisionConfig(
        ch=32, ch_mult=(1, 1, 2, 2), num_res_blocks=1, z_channels=8, embed_dim=8, n_embed=64, patch_size=2
    )
    tokenizer = VisionTokenizer(config).eval()
    assert config.downsampling == 16
    ids = tokenizer.encode(torch.zeros(2, 3, 48, 96))
    assert ids.shape == (2, 3, 6)
    assert tokenizer.decode(ids).shape == (2, 3, 48, 96)


def test_a_side_that_does_not_divide_is_named(tokenizer):
    with pytest.raises(ValueError, match="70x64 px; both sides must be multiples of 16"):
        tokenizer.encode(torch.zeros(1, 3, 64, 70))
