"""The measure of progress: its cases are what they are called, and its rates count."""

from emu_planner.plan.progress import Progress, ProgressLimits, Verdict
from sim.bench.progress import CASES, Sample, fit, rates, samples

# not held out: the limits may be chosen on it
SEED = 10


def test_a_scene_gives_every_case_and_the_same_again():
    found = list(samples(["stack"], [SEED]))
    assert {s.case for s in found} == set(CASES)
    assert found == list(samples(["stack"], [SEED]))
    by = {s.case: s.progress for s in found}
    assert by["carried out"].score > by["no motion"].score
    assert by["wrong object"].strange > by["no motion"].strange
    assert by["arm in view"].strange > by["carried out"].strange


def test_rates_count_false_alarms_and_misses():
    found = [
        Sample("f", "carried out", Progress(0.9, 0.0)),
        Sample("f", "carried out", Progress(0.1, 0.0)),
        Sample("f", "no motion", Progress(0.9, 0.0)),
        Sample("f", "disturbance", Progress(0.0, 0.01)),
    ]
    limits = ProgressLimits(reached_score=0.5, drifting_share=0.005, covered_share=0.05)
    assert rates(found, limits, Verdict.REACHED) == (1, 2, 1, 2)
    assert rates(found, limits, Verdict.DRIFTING) == (0, 3, 0, 1)


def test_fit_separates_what_can_be_separated():
    found = [
        Sample("f", "carried out", Progress(0.5, 0.0)),
        Sample("f", "no motion", Progress(0.1, 0.0)),
        Sample("f", "disturbance", Progress(0.1, 0.001)),
        Sample("f", "arm in view", Progress(0.1, 0.02)),
    ]
    limits = fit(found)
    assert all(s.progress.verdict(limits) is CASES[s.case] for s in found)
