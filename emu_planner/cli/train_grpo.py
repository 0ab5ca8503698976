"""`emu-planner train grpo`: a trained model learns from the simulator's rewards. A composition root."""

import argparse
import os
from collections.abc import Iterator, Sequence
from itertools import count, groupby, islice
from pathlib import Path

import numpy as np
import torch

from emu_planner.cli.train_parts import (
    add_run_arguments,
    copy_checkpoint,
    device,
    insist_on_one_process,
    insist_on_same,
    load_learner,
    saver,
    settings,
)
from emu_planner.engine import picture
from emu_planner.engine.config import PlannerConfig
from emu_planner.model.checkpoint import fingerprint, load_vision_tokenizer, resolve
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.prompt import vla_prompt
from emu_planner.plan import Generation
from emu_planner.training.episodes import encode_frames
from emu_planner.training.grpo import Check, GrpoTraining, Reward, train_grpo
from emu_planner.training.likeness import KINDS, Judge, Likeness
from emu_planner.training.rollouts import Form, Prompt, SampledPlan
from sim import robots
from sim.bench.plans import MOST_SUBGOALS
from sim.camera import VIEWS
from sim.rewards import FIRST_REWARDS, PLAN_REWARDS, Answer, Curriculum, Situation, Verdict
from sim.tasks import FIRST, chosen
from sim.teachers import Teachers

# Training seeds from here on are for checks alone.
CHECK_SEED = 900_000_000
ROLLOUTS = {"first-subgoal": FIRST_REWARDS, "plan": PLAN_REWARDS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this stage."""
    default = GrpoTraining
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="the model to begin with, and the reference: nano, a folder or a hub id",
    )
    add_run_arguments(parser, steps=200)
    parser.add_argument(
        "--rollout", choices=ROLLOUTS, default="first-subgoal",
        help="what is drawn and judged: the next subgoal, in words, from a state inside a task, as a closed "
        "loop asks; or a whole plan with its keyframes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", default="", metavar="NAME=NUMBER,...",
        help="of the rewards, after each is normalised; 0: it is only watched. Rewards of first-subgoal: "
        f"{', '.join(FIRST_REWARDS)}; of plan: {', '.join(PLAN_REWARDS)} (default: 1 each)",
    )  # fmt: skip
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}-model", type=Path, metavar="FOLDER",
            help=f"with --rollout plan, the reward {kind}: keyframes look like their words, by the model in "
            "this folder (config.json, weights, words, as transformers writes them)",
        )  # fmt: skip
    _add_method(parser)
    parser.add_argument(
        "--families", default=",".join(FIRST),
        help="all, groups of families or names, with commas, which take turns (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--robot", default=robots.DEFAULT,
        help=f"{', '.join(robots.ROBOTS)}, or all, which take turns (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--first-seed", type=int, default=200_000_000,
        help=f"of the situations; those from {CHECK_SEED} on are for checks (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--situations", type=int, default=0,
        help="how many different ones, which come again and again; 0: always new ones (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--check-every", type=int, default=default.check_every, metavar="STEPS",
        help="between two checks on situations that are never learned from; 0: only at the start and the "
        "end (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--check-subgoals", type=int, default=64, metavar="SITUATIONS",
        help="next subgoals in a check (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--check-plans", type=int, default=0, metavar="SCENES",
        help="whole plans in a check: whether keyframes suffer while words learn (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1,
        help="processes of the simulator; 0: none but this one (default: %(default)s)",
    )  # fmt: skip


def _add_method(parser: argparse.ArgumentParser) -> None:
    """The arguments of GRPO itself: fields of GrpoTraining."""
    helps = {
        "prompts": "situations a step",
        "group": "plans drawn for each",
        "temperature": "of drawing",
        "passes": "updates from the same plans",
        "clip": "the likelihood ratio counts between 1 - CLIP and 1 + CLIP",
        "kl-weight": "of the distance to the reference",
        "rate": "learning rate",
        "warm-up": "steps",
        "pass-tokens": "most in a pass of learning, for the device's memory",
        "most-rows": "most plans that are drawn at once, likewise",
    }
    for name, text in helps.items():
        value = getattr(GrpoTraining, name.replace("-", "_"))
        told = f"{text} (default: %(default)s)"
        parser.add_argument(f"--{name}", type=type(value), default=value, help=told)
    parser.add_argument(
        "--spread", choices=("group", "batch"), default=GrpoTraining.spread,
        help="by whose standard deviation a reward is divided: of each group, or of all groups of the step "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--even-groups", action="store_true",
        help="learn from groups whose plans are all as good too: there the reference alone pulls",
    )  # fmt: skip


def train(args: argparse.Namespace) -> int:
    """Train into OUT/checkpoint: a folder that `serve --checkpoint` takes.

    Raises:
        ValueError: wrong arguments, or the run in OUT was begun with another model.
    """
    insist_on_one_process("grpo")
    source, target = resolve(args.checkpoint), device(args)
    planner = PlannerConfig.from_folder(source)
    if planner.views != VIEWS:
        raise ValueError(
            f"{source} sees {list(planner.views)}, the simulator shows {list(VIEWS)}; take a model of these"
        )
    judges = judges_of(args, target)
    weights = parse_weights(args.weights, (*ROLLOUTS[args.rollout], *judges))
    curriculum = Curriculum(chosen(args.families), robots.chosen(args.robot))
    config = GrpoTraining(**settings(GrpoTraining, args))
    insist_on_same(
        args.out / "reference.txt",
        fingerprint(source),
        f"the run in {args.out} was begun with another --checkpoint; take a new --out",
    )
    vision = load_vision_tokenizer(source, device=target).eval()
    model = load_learner(source)
    out = args.out / "checkpoint"
    text = copy_checkpoint(source, out, vision, planner)
    down = vision.config.downsampling
    form = Form(
        text,
        (planner.picture_height // down, planner.picture_width // down),
        lambda grid: picture.decode(vision, grid, planner.views),
        planner.max_subgoal_tokens,
        planner.context or model.config.max_position_embeddings,
    )
    with Teachers(curriculum, workers=args.workers) as teachers:
        school = School(teachers, form, vision, planner)
        train_grpo(
            config,
            model,
            load_learner(source),
            form,
            lambda step: school.lots(
                seeds_of(args.first_seed, args.situations, begin=step * config.prompts),
                config.prompts,
                whole=args.rollout == "plan",
            ),
            [
                *school.rewards({name: weights[name] for name in ROLLOUTS[args.rollout]}),
                *(Likeness(name, weights[name], judge) for name, judge in judges.items()),
            ],
            checks=school.checks(
                {"first-subgoal": args.check_subgoals, "plan": args.check_plans},
                [Likeness(name, 0.0, judge) for name, judge in judges.items()],
            ),
            pad=text.vocabulary.pad,
            device=target,
            save=saver(out),
        )
    print(f"checkpoint in {out}")
    return 0


def judges_of(args: argparse.Namespace, target: torch.device) -> dict[str, Judge]:
    """What judges keyframes beside the simulator, by name. ValueError: no keyframes, or no model."""
    given = {kind: getattr(args, f"{kind}_model") for kind in KINDS}
    folders = {kind: folder for kind, folder in given.items() if folder}
    if folders and args.rollout != "plan":
        raise ValueError(
            f"--{next(iter(folders))}-model judges keyframes; {args.rollout} has none: take --rollout plan"
        )
    return {kind: Judge(folder, kind, target) for kind, folder in folders.items()}


def parse_weights(words: str, names: Sequence[str]) -> dict[str, float]:
    """The weights of all rewards, those that are not named 1.

    Raises:
        ValueError: no such reward, or no number.
    """
    weights = dict.fromkeys(names, 1.0)
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        if name not in weights:
            raise ValueError(f"--weights names {name!r}; expected some of {list(names)}, as {names[0]}=2")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ValueError(f"--weights gives {name} {number!r}; expected a number") from None
    return weights


def seeds_of(first: int, different: int, *, begin: int) -> Iterator[int]:
    """The seeds of a run's situations from one on, endless; 0 different: none comes twice.

    Raises:
        ValueError: one is not for learning; told when it comes.
    """
    for number in count(begin):
        seed = first + (number % different if different else number)
        if not 0 <= seed < CHECK_SEED:
            raise ValueError(
                f"seed {seed} is not for learning: expected 0 to {CHECK_SEED - 1}; those above are for "
                "checks and the benchmark"
            )
        yield seed


class School:
    """Prompts from the simulator's situations, and its verdicts as rewards."""

    def __init__(
        self, teachers: Teachers, form: Form, vision: VisionTokenizer, planner: PlannerConfig
    ) -> None:
        self._teachers, self._form, self._vision, self._planner = teachers, form, vision, planner
        self._judged: Sequence[SampledPlan] = ()
        self._verdicts: list[Verdict] = []

    def lots(self, seeds: Iterator[int], size: int, *, whole: bool) -> Iterator[list[Prompt]]:
        """Prompts of seeds, `size` at a time, endless as these are."""
        return self._prompts(iter(lambda: list(islice(seeds, size)), []), whole=whole)

    def checks(self, counts: dict[str, int], of_plans: Sequence[Reward] = ()) -> list[Check]:
        """So many prompts of each kind of rollout, all rewards watched; more of them of whole plans."""
        made = []
        for name, number in counts.items():
            if number:
                seeds = range(CHECK_SEED, CHECK_SEED + number)
                (prompts,) = self._prompts(iter([seeds]), whole=name == "plan")
                own = self.rewards(dict.fromkeys(ROLLOUTS[name], 0.0))
                more = of_plans if name == "plan" else ()
                made.append(Check(f"check_{name.replace('-', '_')}", prompts, [*own, *more]))
        return made

    def rewards(self, weights: dict[str, float]) -> "list[SimulatorReward]":
        """The simulator's rewards with these weights."""
        return [SimulatorReward(self, name, weight) for name, weight in weights.items()]

    def verdicts(self, plans: Sequence[SampledPlan]) -> list[Verdict]:
        """On each plan; several rewards that ask about the same batch share them."""
        if plans is not self._judged:
            asked = [
                (prompt.situation, [Answer(plan.steps, plan.ended, plan.fault) for plan in group])
                for prompt, group in groupby(plans, key=lambda plan: plan.prompt)
            ]
            self._judged = plans
            self._verdicts = [verdict for group in self._teachers.judge(asked) for verdict in group]
        return self._verdicts

    def _prompts(self, lots: Iterator[Sequence[int]], *, whole: bool) -> Iterator[list[Prompt]]:
        for situations in self._teachers.situations(lots, whole=whole):
            yield self._ask(situations)

    def _ask(self, situations: list[Situation]) -> list[Prompt]:
        pictures = torch.from_numpy(np.stack([situation.picture for situation in situations]))
        grids = encode_frames(self._vision, pictures)
        return [
            Prompt(
                vla_prompt(
                    self._form.tokenizer, situation.instruction, [grid], self._planner.told(situation.done)
                ),
                Generation(max_subgoals=MOST_SUBGOALS if situation.whole else 1, keyframes=situation.whole),
                situation,
            )
            for situation, grid in zip(situations, grids, strict=True)
        ]


class SimulatorReward:
    """A grpo.Reward: one entry of the simulator's verdict."""

    def __init__(self, school: School, name: str, weight: float) -> None:
        self.name, self.weight, self._school = name, weight, school

    def __call__(self, plans: Sequence[SampledPlan]) -> Sequence[float]:
        """See Reward."""
        return [verdict[self.name] for verdict in self._school.verdicts(plans)]
