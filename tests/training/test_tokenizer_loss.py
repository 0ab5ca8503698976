"""What counts in a picture's loss: all pixels alike, or those near things more."""

import pytest
import torch

from emu_planner.training.tokenizer import TokenizerTraining, picture_loss, things


def table_with_a_block() -> torch.Tensor:
    picture = torch.full((1, 3, 48, 48), 0.2)
    picture[:, 0, 20:30, 20:30] = 0.9
    return picture


def test_things_are_what_lies_near_an_edge() -> None:
    near = things(table_with_a_block())
    assert near.shape == (1, 1, 48, 48)
    assert near[0, 0, 13:37, 13:37].all()
    assert near[0, 0, :12].sum() == near[0, 0, 39:].sum() == 0
    assert things(torch.full((1, 3, 48, 48), 0.2)).sum() == 0


def test_the_same_error_counts_more_at_a_thing() -> None:
    target = table_with_a_block()
    at_thing, on_table = target.clone(), target.clone()
    at_thing[:, :, 22:26, 22:26] += 0.1
    on_table[:, :, 2:6, 2:6] += 0.1

    def loss(out: torch.Tensor, weight: float) -> float:
        return float(picture_loss(out, target, edge_weight=1.0, thing_weight=weight)[0])

    assert loss(at_thing, 0.0) == pytest.approx(loss(on_table, 0.0))
    assert loss(at_thing, 4.0) / loss(on_table, 4.0) == pytest.approx(5.0, rel=1e-4)
    assert loss(target, 4.0) == 0


def test_the_psnr_of_things_is_told_apart() -> None:
    target = table_with_a_block()
    out = target.clone()
    out[:, :, 2:6, 2:6] += 0.1
    _, parts = picture_loss(out, target, edge_weight=1.0, thing_weight=4.0)
    assert parts["psnr_things"] > 90 > parts["psnr"]


def test_a_weight_below_zero_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="thing_weight is -1"):
        TokenizerTraining(tmp_path, tmp_path, thing_weight=-1)
