"""The vision tokenizer gives the published code's ids and pictures."""

import cv2
import numpy as np
import pytest
import torch

from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.resize import fit_area, resize_bicubic
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


def picture(case: dict) -> torch.Tensor:
    """The case's image at the published size, [1, 3, H, W] in [-1, 1]."""
    rgb = np.ascontiguousarray(cv2.imread(str(golden.FOLDER / case["image"]))[..., ::-1])
    height, width = fit_area(*rgb.shape[:2], case["image_area"])
    assert [width, height] == case["resized"]
    pixels = torch.from_numpy(resize_bicubic(rgb, height, width)).permute(2, 0, 1)[None]
    return pixels.float() / 127.5 - 1


# image_3.png is too large to keep here
CASES = [case for case in golden.values("ibq.json") if (golden.FOLDER / case["image"]).exists()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["image"])
def test_codes_and_pictures_are_the_published_ones(tokenizer, case):
    images = picture(case)
    ids = tokenizer.encode(images)
    assert ids[0].tolist() == case["token_ids"]
    with torch.inference_mode():
        decoded = tokenizer.reconstruct(tokenizer.quantize.embedding(ids).permute(0, 3, 1, 2))
    assert torch.allclose(decoded.mean(dim=(0, 2, 3)), torch.tensor(case["decode_mean"]), atol=1e-3)
    corner = decoded[0, :, :8, :8] if np.ndim(case["decode_corner"]) == 3 else decoded[0, 0, :8, :8]
    assert torch.allclose(corner, torch.tensor(case["decode_corner"]), atol=1e-3)


def test_every_picture_that_is_kept_is_tried():
    assert [case["image"] for case in CASES] == ["image_0.png", "image_1.png", "image_2.png"]


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
