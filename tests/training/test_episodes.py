"""Samples of coded episodes: what is asked, what is learned, and in which shares."""

from collections import Counter
from itertools import islice, repeat

import numpy as np
import pytest

from emu_planner.model.text import TextTokenizer
from emu_planner.training.episodes import SampleConfig, endless_samples, make_caption, make_sample
from emu_planner.training.packing import Sample
from emu_planner.training.stream import CodedEpisode

TEXT = TextTokenizer({bytes([byte]): byte for byte in range(256)}, 16)
V = TEXT.vocabulary
EPISODE = CodedEpisode(
    "stack a on b",
    ("pick a", "place a on b"),
    np.arange(3 * 2 * 4, dtype=np.uint16).reshape(3, 2, 4) % 16,
    ("a on the table, b on the table", "a in the gripper, b on the table", "a on b, b on the table"),
)


def learned(sample: Sample) -> str:
    """The tokens that count, as text."""
    return TEXT.decode(sample.ids[sample.weights > 0].tolist())


def asked(sample: Sample) -> str:
    """The prompt, as text."""
    return TEXT.decode(sample.ids[sample.weights == 0].tolist())


def pictures(sample: Sample) -> int:
    return int((sample.ids == V.boi).sum())


def test_a_plan_tells_every_step_and_ends() -> None:
    sample = make_sample(EPISODE, 0, TEXT, visual_weight=0.25)
    assert pictures(sample) == 3
    assert learned(sample).startswith("pick a<|image start|>")
    assert sample.ids[-1] == V.eos
    assert set(sample.weights[sample.ids >= V.first_visual][8:]) == {np.float32(0.25)}
    nothing_left = make_sample(EPISODE, 2, TEXT)
    assert pictures(nothing_left) == 1
    assert nothing_left.ids[nothing_left.weights > 0].tolist() == [V.ess, V.eos]


def test_an_opening_stops_where_its_picture_begins() -> None:
    sample = make_sample(EPISODE, 1, TEXT, opening=True)
    assert learned(sample) == "place a on b<|image start|>"
    assert sample.ids[-1] == V.boi
    whole = make_sample(EPISODE, 1, TEXT)
    assert np.array_equal(sample.ids, whole.ids[: len(sample.ids)])
    # where nothing is left to do it says just that
    assert np.array_equal(make_sample(EPISODE, 2, TEXT, opening=True).ids, make_sample(EPISODE, 2, TEXT).ids)


def test_a_prompt_tells_the_subgoals_before_its_start() -> None:
    told = make_sample(EPISODE, 1, TEXT, with_history=True)
    silent = make_sample(EPISODE, 1, TEXT)
    assert "stack a on b. done: pick a" in asked(told)
    assert learned(told) == learned(silent)
    first = make_sample(EPISODE, 0, TEXT, with_history=True)
    assert np.array_equal(first.ids, make_sample(EPISODE, 0, TEXT).ids)
    shares = SampleConfig(history_share=0.5, finished_share=0.0, unconditional_share=0.0)
    drawn = islice(endless_samples(repeat(EPISODE), TEXT, shares), 400)
    # half of the samples begin in the middle, half of those are told
    assert 60 < sum("done: " in asked(sample) for sample in drawn) < 140


def test_a_caption_says_what_its_own_picture_shows() -> None:
    sample = make_caption(EPISODE, 1, TEXT)
    assert learned(sample).startswith("a in the gripper, b on the table")
    codes = sample.ids[sample.ids >= V.first_visual] - V.first_visual
    assert codes.tolist() == EPISODE.grids[1].ravel().tolist()


def test_shares_are_kept_and_long_episodes_are_asked_more_often() -> None:
    config = SampleConfig(opening_share=0.3, caption_share=0.2, seed=3)
    kinds = Counter()
    for sample in islice(endless_samples(repeat(EPISODE), TEXT, config), 2000):
        caption, opening = "what is where?" in asked(sample), sample.ids[-1] == V.boi
        kinds["caption" if caption else "opening" if opening else "plan"] += 1
    # openings after the last step end as plans do
    assert abs(kinds["caption"] / 2000 - 0.2) < 0.04
    assert abs(kinds["opening"] / 2000 - 0.3 * 0.9) < 0.04
    long = CodedEpisode("x", ("pick a",) * 9, np.zeros((10, 2, 4), np.uint16), ("",) * 10)
    assert len(list(endless_samples(iter([long]), TEXT, SampleConfig()))) == 3


@pytest.mark.parametrize("wrong", [{"opening_share": 1.2}, {"opening_share": 0.6, "caption_share": 0.6}])
def test_shares_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"1\.2|one whole"):
        SampleConfig(**wrong)
