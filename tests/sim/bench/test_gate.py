"""The gate opens for a tokenizer that shows the truth and stays shut for one that does not."""

from functools import partial

import numpy as np
import pytest

from sim.bench.gate import decide, score_ceiling
from sim.bench.trail import Trail


def test_the_ceiling_is_full_without_loss_and_falls_with_it(trail: Trail) -> None:
    perfect = list(score_ceiling(trail, lambda picture: picture))
    assert len(perfect) == len(trail.needed())
    assert all(score.right and score.right_without for score in perfect)
    grey = list(score_ceiling(trail, partial(np.full_like, fill_value=128)))
    assert len(grey) == len(perfect)
    assert all(score.right_without and score.psnr_db < 20 for score in grey)
    assert not all(score.right for score in grey)
    assert decide([score.row() for score in perfect]).passed
    refused = decide([score.row() for score in grey])
    assert not refused.passed
    assert "not scored" in refused.why


def test_99_of_100_pass_and_98_do_not() -> None:
    rows = [{"right": i >= 1} for i in range(100)]
    assert decide(rows).passed
    assert not decide([{"right": i >= 2} for i in range(100)]).passed
    assert decide(rows).why.startswith("99 of 100")


def test_without_rows_it_stays_shut() -> None:
    assert not decide([]).passed


def test_a_tokenizer_of_another_size_is_refused(trail: Trail) -> None:
    with pytest.raises(ValueError, match="round trip"):
        list(score_ceiling(trail, lambda picture: picture[::2, ::2]))
