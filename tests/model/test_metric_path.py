"""The metric path: its chances and rates against the formulas written out, its jumps against the path."""

import math

import pytest
import torch

from emu_planner.model.metric_path import MetricPath, PathConfig

CODES = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
CONFIG = PathConfig(c=3.0, alpha=0.9)


@pytest.fixture(scope="module")
def path() -> MetricPath:
    return MetricPath(CODES, CONFIG)


def distance(a: int, b: int) -> float:
    """Squared distance of two codes' unit vectors, written out."""
    first, second = ([float(x) for x in CODES[code]] for code in (a, b))
    first = [x / math.hypot(*first) for x in first]
    second = [x / math.hypot(*second) for x in second]
    return sum((x - y) ** 2 for x, y in zip(first, second, strict=True))


def chances(target: int, beta: float) -> list[float]:
    weights = [math.exp(-beta * distance(code, target)) for code in range(len(CODES))]
    return [weight / sum(weights) for weight in weights]


def beta(time: float) -> float:
    return 3.0 * (time / (1 - time)) ** 0.9


def test_distances_are_those_of_unit_vectors(path):
    expected = [[distance(a, b) for b in range(7)] for a in range(7)]
    assert torch.allclose(path.distances(torch.arange(7)), torch.tensor(expected), atol=1e-5)


def test_intensities_over_a_short_time_are_the_rates_of_the_formula(path):
    time, short = 0.4, 1e-6
    slope = (beta(time + short) - beta(time - short)) / (2 * short)
    code, target = 2, 5
    expected = [
        slope * chance * max(0.0, distance(code, target) - distance(to, target))
        for to, chance in enumerate(chances(target, beta(time)))
    ]
    times = (torch.tensor(t, dtype=torch.float64) for t in (time - short, time + short))
    found = path.intensities(torch.tensor([code]), torch.tensor([target]), *times)[0] / (2 * short)
    assert found.tolist() == pytest.approx(expected, rel=1e-3)
    assert found[code] == 0
    assert sum(x > 0 for x in expected) > 1


def test_jumps_keep_to_the_path():
    """Eight steps by the chances that jumps have: all along, codes are spread as the path says."""
    codes = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))
    path, target, steps = MetricPath(codes, CONFIG), 11, 8
    spread = torch.full((60,), 1 / 60)
    everyone = torch.arange(60)
    for step in range(steps - 1):
        begin, end = (CONFIG.time(s / steps) for s in (step, step + 1))
        intensities = path.intensities(everyone, torch.full((60,), target), begin, end)
        total = intensities.sum(dim=1)
        moved = spread * (1 - torch.exp(-total))
        spread = spread - moved + (moved / total.clamp_min(1e-30)) @ intensities
        expected = torch.softmax(-beta((step + 1) / steps) * path.distances(torch.tensor(target)), dim=0)
        assert (spread - expected).abs().sum() / 2 < 0.06
    assert spread[target] > 0.95


def test_what_happens_first_happens_if_in_time(path):
    count = 200_000
    begin, end = CONFIG.time(0.3), CONFIG.time(0.6)
    codes, targets = torch.full((count,), 2), torch.full((count,), 5)
    intensities = path.intensities(codes[:1], targets[:1], begin, end)[0]
    waits = torch.empty(count, 7).exponential_(generator=torch.Generator().manual_seed(0))
    found = torch.bincount(path.jump(codes, targets, begin, end, waits), minlength=7) / count
    leaves = 1 - math.exp(-float(intensities.sum()))
    expected = intensities / intensities.sum() * leaves
    expected[2] = 1 - leaves
    assert found.tolist() == pytest.approx(expected.tolist(), abs=0.006)


@pytest.mark.parametrize("time", [0.0, 0.5, 0.9])
def test_noise_is_drawn_from_the_path(path, time):
    count = 100_000
    times = torch.full((count,), time)
    drawn = path.noisy(torch.full((count,), 4), times, torch.Generator().manual_seed(0))
    found = torch.bincount(drawn, minlength=7) / count
    assert found.tolist() == pytest.approx(chances(4, beta(time)), abs=0.008)


def test_noise_in_tiles_has_each_codes_own_time(path, monkeypatch):
    monkeypatch.setattr("emu_planner.model.metric_path._TILE_CELLS", 21)
    assert path.tile == 3
    codes = torch.arange(7)
    drawn = path.noisy(codes, torch.full((7,), 0.9999), torch.Generator().manual_seed(0))
    assert drawn.tolist() == codes.tolist()


def test_a_shift_gives_noise_more_of_the_time():
    assert float(PathConfig(shift=1.0).time(0.5)) == 0.5
    assert float(PathConfig(shift=3.0).time(0.5)) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="above 0"):
        PathConfig(alpha=0.0)
