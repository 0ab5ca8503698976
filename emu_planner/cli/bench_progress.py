"""`emu-planner bench progress`: how often a live picture is judged wrongly against a keyframe."""

import argparse

from rich.console import Console
from rich.table import Table

from emu_planner.cli.arguments import positive
from emu_planner.plan.progress import ProgressLimits, Verdict
from sim.bench.progress import CASES, Sample, fit, rates, samples
from sim.scene import BENCHMARK_FIRST_SEED
from sim.statistics import wilson

# held out; a few scenes before it were looked at while the measure was made
_FIRST_SEED = BENCHMARK_FIRST_SEED + 100
FAMILIES = ("stack", "container", "sort", "zone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument("--scenes", type=positive, default=20, help="of each family (%(default)s)")
    parser.add_argument("--families", default=",".join(FAMILIES), help="comma-separated (%(default)s)")
    parser.add_argument(
        "--fit", action="store_true", help="first choose the limits, on as many scenes that are not held out"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print rates with their intervals and counts, on held-out scenes."""
    families = args.families.split(",")
    limits = ProgressLimits()
    if args.fit:
        limits = fit(list(samples(families, range(args.scenes))))
    found = list(samples(families, range(_FIRST_SEED, _FIRST_SEED + args.scenes)))
    console.print(f"limits {'chosen on training scenes' if args.fit else 'as shipped'}: {limits}")
    console.print(_rates_table(found, limits))
    for by in ("case", "family"):
        console.print(_verdict_table(found, limits, by))
    return 0


def _rates_table(found: list[Sample], limits: ProgressLimits) -> Table:
    table = Table("verdict", "false alarms", "misses", title=f"{len(found)} pictures of held-out scenes")
    for verdict in (Verdict.REACHED, Verdict.DRIFTING):
        false, negatives, missed, positives = rates(found, limits, verdict)
        table.add_row(verdict.value, _share(false, negatives), _share(missed, positives))
    return table


def _verdict_table(found: list[Sample], limits: ProgressLimits, by: str) -> Table:
    table = Table(by, *(v.value for v in Verdict), "right")
    for name in dict.fromkeys(getattr(s, by) for s in found):
        of = [s for s in found if getattr(s, by) == name]
        said = [s.progress.verdict(limits) for s in of]
        right = sum(v is CASES[s.case] for s, v in zip(of, said, strict=True))
        table.add_row(name, *(str(said.count(v)) for v in Verdict), _share(right, len(of)))
    return table


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count}/{of} = {count / of if of else 0:.3f} [{max(low, 0.0):.3f}, {high:.3f}]"
