"""The benchmark: planners on held-out scenes, judged by exact simulator state and real pictures.

A scene is (family, seed, robot). Each planner is asked twice: once for a whole plan from the first
picture (open loop), once for one subgoal at a time while every subgoal is carried out (closed
loop). A planner sees pixels and one sentence, nothing else. What is missing counts as wrong.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.frame import Still
from emu_planner.plan.planner import Generation, Planner, Task
from emu_planner.plan.report import collect
from emu_planner.plan.step import Outcome, Step, StepOutcome
from sim import language, robots
from sim.oracle import next_skill
from sim.reading import library, read_picture
from sim.scene import BENCHMARK_FIRST_SEED
from sim.world import World

Picture = NDArray[np.uint8]
SUITES = Path(__file__).parent / "suites"

# Grey levels by which a pixel must change in some channel to belong to the changed region
CHANGED_LEVEL = 24
_MOST_SUBGOALS = 10  # of an open-loop plan; the longest that a task needs is 8
_MOST_CALLS = 16  # of a closed loop
_MOST_FAILURES = 3  # in a row, in a closed loop


@dataclass(frozen=True)
class SceneName:
    """One scene of a suite."""

    family: str
    seed: int
    robot: str = robots.DEFAULT

    def __str__(self) -> str:
        return f"{self.family}/{self.seed}/{self.robot}"


@dataclass(frozen=True)
class StepScore:
    """One subgoal of an open-loop plan, judged in the state that the steps before it reached."""

    subgoal: str
    # the words are a skill call that is possible now
    valid: bool
    # the skill reached its outcome when carried out
    done: bool = False
    # mean absolute error in grey levels inside the changed region, against the real next picture
    keyframe_error: float | None = None
    # the same for the picture before the step: what copying would score
    copy_error: float | None = None
    # the keyframe, read as a state, is the one that the words ask for
    keyframe_agrees: bool | None = None
    # the keyframe, read as a state, is one that can be
    keyframe_possible: bool | None = None


@dataclass(frozen=True)
class SceneScore:
    """One planner on one scene."""

    planner: str
    scene: str
    instruction: str
    steps: tuple[StepScore, ...]
    # why the open-loop stream ended
    reason: str
    # every subgoal valid and done, and there was one
    plan_valid: bool
    # the task is done after the open-loop plan
    open_loop_success: bool
    # the task is done after the closed loop
    closed_loop_success: bool
    closed_loop_subgoals: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Entrant:
    """A planner under test; `make` gets the live world, which only an oracle may look into."""

    name: str
    make: Callable[[World], Planner]


def read_suite(name: str) -> list[SceneName]:
    """The scenes of a suite, by its name or the path of its file.

    Raises:
        ValueError: a scene's seed belongs to training, or its robot is unknown.
    """
    path = Path(name) if name.endswith(".json") else SUITES / f"{name}.json"
    if not path.exists():
        have = sorted(p.stem for p in SUITES.glob("*.json"))
        raise ValueError(f"no suite {name!r}: have {have}, or give the path of a .json file")
    scenes = [SceneName(**row) for row in json.loads(path.read_text())["scenes"]]
    for scene in scenes:
        robots.known(scene.robot)
        if scene.seed < BENCHMARK_FIRST_SEED:
            raise ValueError(f"{scene} has a training seed; expected {BENCHMARK_FIRST_SEED} or more")
    return scenes


def score_scene(world: World, planner: Planner, name: str, scene: SceneName) -> SceneScore:
    """Run one planner on one scene, open loop and closed loop."""
    world.reset(scene.family, scene.seed, scene.robot)
    instruction = world.scene.instruction
    generation = Generation(max_subgoals=_MOST_SUBGOALS, seed=scene.seed)
    report = collect(instruction, planner.plan(Task(instruction, generation), Still(world.observation())))
    steps = tuple(_score_steps(world, report.steps))
    plan_valid = bool(steps) and len(steps) == len(report.steps) and all(s.valid and s.done for s in steps)
    open_success = plan_valid and all(world.success().values())
    world.reset(scene.family, scene.seed, scene.robot)
    spoken = tuple(_closed_loop(world, planner, scene.seed))
    return SceneScore(
        name, str(scene), instruction, steps, report.reason if not report.error_code else report.error_code,
        plan_valid, open_success, all(world.success().values()), spoken,
    )  # fmt: skip


def _score_steps(world: World, steps: tuple[Step, ...]) -> Iterator[StepScore]:
    """Judge and carry out subgoals in turn; ends at the first that is not valid or not done."""
    for step in steps:
        skill = language.parse_skill(step.subgoal, world.scene)
        if skill is None or skill not in world.legal_skills():
            yield StepScore(step.subgoal, valid=False)
            return
        before = world.picture()
        candidates = library(world) if step.keyframe is not None else []
        done = world.execute(skill).ok
        score = StepScore(step.subgoal, valid=True, done=done)
        if step.keyframe is not None:
            after, imagined = world.picture(), step.keyframe.rgb
            reading = read_picture(imagined, candidates).best
            score = StepScore(
                step.subgoal,
                valid=True,
                done=done,
                keyframe_error=changed_error(before, after, imagined),
                copy_error=changed_error(before, after, before),
                keyframe_agrees=reading.skill == skill,
                keyframe_possible=reading.possible and reading.skill is not None,
            )
        yield score
        if not done:
            return


def _closed_loop(world: World, planner: Planner, seed: int) -> Iterator[str]:
    """One subgoal from each new picture, carried out; yields the words."""
    history: list[StepOutcome] = []
    failures = 0
    task = Task(world.scene.instruction, Generation(max_subgoals=1, keyframes=False, seed=seed))
    for _ in range(_MOST_CALLS):
        report = collect(task.instruction, planner.plan(task, Still(world.observation()), history))
        if not report.steps:
            return
        step = report.steps[0]
        yield step.subgoal
        skill = language.parse_skill(step.subgoal, world.scene)
        ok = skill is not None and world.execute(skill).ok
        history.append(StepOutcome(step, Outcome.SUCCEEDED if ok else Outcome.FAILED))
        failures = 0 if ok else failures + 1
        if failures == _MOST_FAILURES:
            return


def changed_error(before: Picture, after: Picture, imagined: Picture) -> float | None:
    """Mean |imagined - after| in grey levels where before and after differ; None: nowhere.

    Pictures [H, W, 3] uint8; the region is where some channel changes by more than CHANGED_LEVEL.
    """
    region = np.abs(after.astype(np.int16) - before).max(axis=2) > CHANGED_LEVEL
    if not region.any():
        return None
    return float(np.abs(imagined.astype(np.int16) - after)[region].mean())


@dataclass(frozen=True)
class CeilingScore:
    """How well one real keyframe is still read after a tokenizer's round trip."""

    scene: str
    skill: str
    # read as the right state after the round trip, and without it
    right: bool
    right_without: bool
    psnr_db: float


def score_ceiling(
    world: World, round_trip: Callable[[Picture], Picture], scene: SceneName
) -> Iterator[CeilingScore]:
    """The oracle's real keyframes of one scene, sent through the tokenizer and read back."""
    world.reset(scene.family, scene.seed, scene.robot)
    while (skill := next_skill(world.scene.goal, world.state())) is not None:
        candidates = library(world)
        if not world.execute(skill).ok:
            return
        real = world.picture()
        sent = round_trip(real)
        error = float(np.square(sent.astype(np.float64) - real).mean())
        yield CeilingScore(
            str(scene),
            str(skill),
            read_picture(sent, candidates).best.skill == skill,
            read_picture(real, candidates).best.skill == skill,
            10 * np.log10(255.0**2 / max(error, 1e-9)),
        )


Job = tuple[str, SceneName]


class WorkerError(RuntimeError):
    """A worker process could not start, or died."""


def run(
    jobs: list[Job],
    start: Callable[[], Callable[[Job], list[dict]]],
    rows_file: Path,
    *,
    workers: int,
) -> Iterator[tuple[int, int]]:
    """Do jobs in worker processes, append their rows to a JSON-lines file, skip those done before.

    Args:
        start: runs once in each worker and returns what does a job; must be picklable.

    Yields:
        (jobs done, all jobs), after each.

    Raises:
        WorkerError: a worker process could not start, or died.
    """
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    done = {row["job"] for row in read_rows(rows_file)} if rows_file.exists() else set()
    _drop_unfinished_line(rows_file)
    left = [job for job in jobs if _job_name(job) not in done]
    count = len(jobs) - len(left)
    yield count, len(jobs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (start,))
    try:
        with rows_file.open("a") as file:
            for future in as_completed([pool.submit(_do, job) for job in left]):
                job, rows = future.result()
                # one line a job, so that a kill loses no finished job and keeps no half of one
                file.write(json.dumps({"job": _job_name(job), "rows": rows}) + "\n")
                file.flush()
                count += 1
                yield count, len(jobs)
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a worker process could not start, or died; what it said is above. {count} of {len(jobs)} "
            f"jobs are in {rows_file}; the same call goes on from there"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def read_rows(rows_file: Path) -> list[dict]:
    """The jobs of a JSON-lines file: {"job", "rows"} each; an unfinished last line is dropped."""
    lines = rows_file.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _drop_unfinished_line(rows_file: Path) -> None:
    """Cut what follows the last line's end, so that the next line begins a line."""
    if rows_file.exists():
        data = rows_file.read_bytes()
        with rows_file.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def row(score: SceneScore | CeilingScore) -> dict:
    """A score as JSON."""
    return asdict(score)


def _job_name(job: Job) -> str:
    return f"{job[0]} {job[1]}"


_work: Callable[[Job], list[dict]]


def _begin(start: Callable[[], Callable[[Job], list[dict]]]) -> None:
    global _work
    _work = start()


def _do(job: Job) -> tuple[Job, list[dict]]:
    return job, _work(job)
