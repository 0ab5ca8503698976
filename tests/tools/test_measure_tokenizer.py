"""What is said of a tokenizer's round trip: quality all over and at things, codes used, an interval."""

import pytest
import torch

from tools.measure_tokenizer import judge, sheet


def tables() -> torch.Tensor:
    """Eight grey tables with a red block, each somewhere else."""
    pictures = torch.full((8, 3, 48, 96), 0.2)
    for index in range(8):
        pictures[index, 0, 20:30, 8 * index + 10 : 8 * index + 20] = 0.9
    return pictures


def test_an_error_at_a_thing_shows_where_it_is_looked_for() -> None:
    pictures, codes = tables(), torch.arange(16).repeat(8, 1).view(8, 2, 8)
    at_thing, on_table = pictures.clone(), pictures.clone()
    for index in range(8):
        at_thing[index, :, 22:26, 8 * index + 12 : 8 * index + 16] += 0.2
    on_table[:, :, 44:48, 92:96] += 0.2
    near, far = judge("near", pictures, at_thing, codes), judge("far", pictures, on_table, codes)
    assert near.psnr == pytest.approx(far.psnr, abs=1e-4)
    assert near.psnr_things < near.psnr < 60 < far.psnr_things
    assert near.low <= near.psnr_things <= near.high
    assert (near.codes, near.used) == (16, 16)


def test_the_sheet_shows_pictures_above_their_round_trips() -> None:
    pictures = tables()
    shown = sheet(pictures, [pictures, -pictures], 3)
    assert shown.shape == (3 * 48, 3 * 96, 3)
    assert (shown[:48] == shown[48:96]).all()
    assert (shown[:48] != shown[96:]).all()
