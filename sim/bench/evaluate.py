"""One planner and its controls over a suite: what a worker does with a scene, and the results file.

Knows a planner under test only as something that makes it in another process.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from emu_planner.plan.planner import Planner
from emu_planner.plan.report import Report
from emu_planner.plan.step import Keyframe, Step
from sim import language
from sim.bench import gate, metrics, ray_workers
from sim.bench.controls import CONTROLS, Known, Remember
from sim.bench.judge import RoundTrip, judge, make_score, with_closed_loop
from sim.bench.kept_plans import keep_plan, kept_plan, plan_path
from sim.bench.ledger import Ledger
from sim.bench.neighbour import Neighbours
from sim.bench.plans import PlannerFault, Taken
from sim.bench.runner import Work, run
from sim.bench.suite import SceneName, Suite
from sim.bench.supervisor import Limits, Supervised
from sim.bench.trail import Trail
from sim.bench.versions import machine, versions
from sim.camera import VIEWS
from sim.oracle import OraclePlanner
from sim.world import World

GATE = "gate"
_UNKNOWN = (
    "its tokenizer is not known here, so nobody can say whether its pictures can be read; "
    "name it with --vision FOLDER, or say --vision none if it draws pixels without one"
)


@dataclass(frozen=True)
class Setup:
    """What is measured, and where it is kept."""

    suite: Suite
    # its name in tables and rows
    planner: str
    # makes the planner in its own process; None: `planner` is the name of a control
    make: Callable[[], Planner] | None
    # who it is: hashes, addresses; two runs with other values are never mixed
    identity: dict[str, Any]
    # names of sim/bench/controls.py
    controls: tuple[str, ...]
    # folder of rows, plans, logs and reports
    out: Path
    limits: Limits = field(default_factory=Limits)
    # it draws pixels, no tokens: the gate has nothing to test
    draws_pixels: bool = False
    # training episodes for nearest-neighbour
    data: Path | None = None

    def __post_init__(self) -> None:
        known = set(CONTROLS)
        if unknown := set(self.controls) - known:
            raise ValueError(f"unknown controls {sorted(unknown)}; have {sorted(known)}")
        if self.make is None and self.planner not in known:
            raise ValueError(f"unknown planner {self.planner!r}; have {sorted(known)}")

    @property
    def entrants(self) -> list[str]:
        """Who is asked in each scene, in this order: what derives from the planner after it."""
        controls = [name for name in CONTROLS if name in self.controls and name != self.planner]
        return [self.planner, GATE, *controls]

    @property
    def rows_file(self) -> Path:
        """The ledger."""
        return self.out / "rows.jsonl"

    @property
    def plans(self) -> Path:
        """Folder of the planner's open-loop plans."""
        return self.out / "plans"

    def header(self) -> dict[str, Any]:
        """What all rows of the ledger share."""
        return {
            "suite": {"name": self.suite.name, "version": self.suite.version, "sha256": self.suite.sha256},
            "planner": {"name": self.planner, "draws_pixels": self.draws_pixels, **self.identity},
            "plan_limit_s": self.limits.plan_s,
            "versions": versions(),
        }


def evaluate(setup: Setup, *, workers: int | None, ray: str | None = None) -> Iterator[tuple[int, int]]:
    """Do what is missing; yields (jobs done, all jobs). At the end results.json is there.

    Args:
        workers: None: one; with Ray see ray_workers.run.
        ray: address of a Ray cluster, whose machines work; None: processes of this machine.

    Raises:
        ValueError: as in ray_workers.run.
        LedgerError, a ValueError: the folder holds another run's rows, or another run writes there.
        WorkerError: a worker or the planner could not start, or the planner is out of reach now.
    """
    with Ledger(setup.rows_file, setup.header(), machine()) as ledger:
        if ray is not None:
            yield from ray_workers.run(setup, start_worker, ledger, address=ray, workers=workers)
        else:
            start = functools.partial(start_worker, setup)
            yield from run(setup.suite.scenes, setup.entrants, start, ledger, workers=workers or 1)
        asked = {f"{name} {scene}" for name in setup.entrants for scene in setup.suite.scenes}
        rows = [row for row in ledger.rows if row["job"] in asked]
        results = make_results(setup, rows)
    partial = setup.out / "results.json.part"
    partial.write_text(json.dumps(results, indent=1), encoding="utf-8")
    partial.replace(setup.out / "results.json")


def make_results(setup: Setup, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows in the suite's order, by entrant, with the gate applied."""
    by_job = {row["job"]: row for row in rows}
    entrants = {name: [by_job[f"{name} {scene}"] for scene in setup.suite.scenes] for name in setup.entrants}
    ceiling = [row for scene in entrants.pop(GATE) for row in scene["rows"]]
    if setup.draws_pixels:
        verdict = gate.Verdict(True, 0, 0, "it draws pixels, no tokens: nothing to test")
    elif not ceiling:
        verdict = gate.Verdict(False, 0, 0, _UNKNOWN)
    else:
        verdict = gate.decide(ceiling)
    if not verdict.passed:
        # what derives from the planner shows its pictures too
        for name in filter(functools.partial(_shows_own, setup), entrants):
            entrants[name] = [_without_pictures(row) for row in entrants[name]]
    return {
        **setup.header(),
        "about": machine(),
        "scenes": [str(scene) for scene in setup.suite.scenes],
        "gate": asdict(verdict),
        "ceiling": ceiling,
        "entrants": entrants,
    }


def _shows_own(setup: Setup, name: str) -> bool:
    """Whether an entrant's pictures come out of the tested planner's tokenizer."""
    return name == setup.planner or CONTROLS[name].tokenized


def _without_pictures(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its picture metrics and its score refused."""
    if row["kind"] != "score":
        return row
    return {**row, "score": None, "metrics": {**row["metrics"], **dict.fromkeys(metrics.PICTURED)}}


# ---- in a worker


@contextlib.contextmanager
def start_worker(setup: Setup) -> Iterator[Work]:
    """Worlds, oracle and the planner's process for one worker."""
    with contextlib.ExitStack() as stack:
        world, elsewhere = stack.enter_context(World()), stack.enter_context(World())
        oracle = OraclePlanner(world)
        stack.callback(oracle.close)
        tested: Supervised | None = None
        if setup.make is not None:
            log = setup.out / "planner.log"
            tested = stack.enter_context(Supervised(setup.make, setup.limits, log))
            tested.start()
        neighbours = Neighbours(setup.data) if setup.data and "nearest-neighbour" in setup.controls else None
        yield _Desk(setup, world, elsewhere, oracle, tested, neighbours).work


@dataclass(frozen=True)
class _Desk:
    """What a worker has at hand."""

    setup: Setup
    # for the scene in work, and for another one beside it
    world: World
    elsewhere: World
    oracle: OraclePlanner
    # None: the planner is a control
    tested: Supervised | None
    neighbours: Neighbours | None

    def work(self, scene: SceneName, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows of these entrants in one scene, in their order."""
        setup = self.setup
        made = kept_plan(setup.plans, scene)
        if made is None and setup.planner not in names:
            raise ValueError(
                f"{plan_path(setup.plans, scene)} is gone, and controls derive from it; remove {setup.out} "
                "and run anew"
            )
        with Trail(self.world, scene) as trail:
            known = self._known(trail, scene, made or ())
            for name in names:
                if name == GATE:
                    yield name, {"kind": "gate", "rows": _ceiling(trail, known.round_trip)}
                    continue
                own = name == setup.planner
                planner = self.tested if own and self.tested is not None else CONTROLS[name].make(known)
                if planner is None:
                    yield name, {"kind": "skipped", "why": "it cannot be made with this planner"}
                    continue
                through = known.round_trip if _shows_own(setup, name) else None
                row, steps = _judge(trail, planner, name, through)
                if row["faults"] and planner is not self.tested and not _is_of_tested(name):
                    raise RuntimeError(f"the control {name} broke on {scene}: {row['faults'][0]}")
                if own:
                    keep_plan(setup.plans, scene, steps)
                    known = replace(known, made=steps)
                yield name, row

    def _known(self, trail: Trail, scene: SceneName, made: tuple[Step, ...]) -> Known:
        """What this scene's controls are made from."""
        tested, neighbours = self.tested, self.neighbours
        pixels = tested is None or not tested.has_round_trip or self.setup.draws_pixels
        neighbour = None
        if neighbours is not None:
            shown = trail.at(()).picture
            neighbour = functools.partial(neighbours.plan, trail.scene.instruction, shown)
        return Known(
            trail,
            Remember(self.oracle),
            functools.partial(oracle_steps, self.elsewhere, self.setup.suite.next_of_family(scene)),
            made=made,
            tested=tested,
            round_trip=None if tested is None or pixels else tested.round_trip,
            random_picture=None
            if tested is None or pixels or not tested.has_random_picture
            else tested.random_picture,
            neighbour=neighbour,
        )


def _is_of_tested(name: str) -> bool:
    """Whether a control's failure may be the tested planner's."""
    return CONTROLS[name].derived or CONTROLS[name].tokenized


def _judge(
    trail: Trail, planner: Planner, name: str, round_trip: RoundTrip | None
) -> tuple[dict[str, Any], tuple[Step, ...]]:
    try:
        score, steps = judge(trail, planner, name, round_trip=round_trip)
    except PlannerFault as fault:
        # while its tokenizer was asked
        report = Report(trail.scene.instruction, (), "error", error_code=fault.kind)
        taken = Taken(report, fault.kind, fault.detail)
        score, steps = with_closed_loop(trail, make_score(trail, name, taken, [], ()), [], (), ""), ()
    return {"kind": "score", **score.row()}, steps


def _ceiling(trail: Trail, round_trip: RoundTrip | None) -> list[dict[str, Any]]:
    """Rows of the gate; a tokenizer that fails on a scene counts as not showing it."""
    if round_trip is None:
        return []
    try:
        return [score.row() for score in gate.score_ceiling(trail, round_trip)]
    except (PlannerFault, ValueError) as error:
        return [
            gate.CeilingScore(str(trail.name), f"{skill}: {error}"[:200], False, False, 0.0).row()
            for skill in trail.needed()
        ]


def oracle_steps(world: World, scene: SceneName) -> tuple[Step, ...]:
    """The oracle's plan for a scene, in words and real pictures."""
    with Trail(world, scene) as trail:
        skills = trail.needed()
        return tuple(
            Step(
                i,
                language.word_skill(skill, trail.scene, scene.sampling_seed),
                Keyframe(trail.at(skills[: i + 1]).picture, VIEWS),
            )
            for i, skill in enumerate(skills)
        )
