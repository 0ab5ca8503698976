"""`emu-planner train tokenizer|lm|dida|grpo`: make a model from episodes. A composition root."""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from emu_planner.cli import train_grpo, train_pools
from emu_planner.cli.train_parts import (
    add_run_arguments,
    copy_checkpoint,
    device,
    insist_on_one_process,
    led,
    load_learner,
    saver,
    settings,
    together,
)
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.dida import DidaConfig
from emu_planner.engine.sampler import Sampling
from emu_planner.model.checkpoint import load_vision_tokenizer, resolve, save_vision_tokenizer
from emu_planner.model.ibq import VisionTokenizer
from emu_planner.model.metric_path import MetricPath, PathConfig
from emu_planner.model.text import TextTokenizer, train_bpe, write_folder
from emu_planner.model.transformer import Transformer, TransformerConfig
from emu_planner.training.coding import CodersError
from emu_planner.training.dida import CopyNoise, with_copies
from emu_planner.training.distributed import WAYS, Team
from emu_planner.training.episodes import SampleConfig, endless_samples, make_sample
from emu_planner.training.language import LanguageTraining, train_language
from emu_planner.training.lessons import (
    LessonPool,
    endless_lesson_samples,
    make_lesson_sample,
    mixed,
)
from emu_planner.training.packing import Sample
from emu_planner.training.stream import CodedEpisode, EpisodePool, draws
from emu_planner.training.tokenizer import SIZES, TokenizerTraining, train_tokenizer
from sim.camera import VIEWS

_MERGES = 1000
# most held-out episodes that the validation loss is taken on
_CHECKED = 64
# subgoals of the past that a new checkpoint's prompt tells
_HISTORY = 20
# between the seeds of two processes of a run
_NEXT_RANK = 2**32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of all trainings."""
    stages = parser.add_subparsers(dest="stage", required=True)
    tokenizer = stages.add_parser("tokenizer", help="train the IBQ vision tokenizer")
    _common(tokenizer, steps=4000, rate=TokenizerTraining.rate)
    tokenizer.add_argument("--batch-size", type=int, default=TokenizerTraining.batch_size)
    tokenizer.add_argument(
        "--limit", type=int, default=TokenizerTraining.limit, help="most pictures to hold in memory"
    )
    tokenizer.add_argument(
        "--start-with", type=int, default=TokenizerTraining.start_with, metavar="PICTURES",
        help="how many to wait for while the simulator still writes (default: %(default)s)",
    )  # fmt: skip
    tokenizer.add_argument(
        "--thing-weight", type=float, default=TokenizerTraining.thing_weight, metavar="WEIGHT",
        help="how much more pixels near an edge count, as those of small things (default: %(default)s)",
    )  # fmt: skip
    tokenizer.add_argument(
        "--size", choices=SIZES, default="nano", help="of the network; tiny tries the path on a CPU"
    )
    lm = stages.add_parser("lm", help="train the language model on words and visual codes")
    _language(lm, steps=6000, rate=LanguageTraining.rate)
    lm.add_argument(
        "--tokenizer", type=Path, help="checkpoint with vision_tokenizer/ (default: that of --init)"
    )
    lm.add_argument(
        "--init", metavar="CHECKPOINT", help="a trained model to begin with, and its words: nano, ..."
    )
    lm.add_argument("--context", type=int, default=LanguageTraining.context, help="tokens a row")
    for name, share, what in (
        ("openings", 0.25, "end where the first keyframe would begin"),
        ("captions", 0.2, "say what stands where in a picture"),
    ):
        lm.add_argument(
            f"--{name}", type=float, default=share, metavar="SHARE",
            help=f"samples that {what}; the rest are plans (default: %(default)s)",
        )  # fmt: skip
    lm.add_argument(
        "--history", type=float, default=0.5, metavar="SHARE",
        help="samples from the middle of an episode that tell what has been done (default: %(default)s)",
    )  # fmt: skip
    lm.add_argument(
        "--visual-weight", type=float, default=SampleConfig.visual_weight,
        help="how much predicting a visual token counts beside a word (default: %(default)s)",
    )  # fmt: skip
    lm.add_argument(
        "--lessons", type=Path, metavar="FOLDER", help="lessons of the other tasks (data lessons) to mix in"
    )
    lm.add_argument(
        "--lesson-share", type=float, default=0.5, metavar="SHARE",
        help="samples that are lessons, with --lessons (default: %(default)s)",
    )  # fmt: skip
    lm.add_argument("--width", type=int, default=384)
    lm.add_argument("--layers", type=int, default=12)
    dida = stages.add_parser("dida", help="adapt a trained model to decode all codes of a picture at once")
    _language(dida, steps=3000, rate=3e-4)
    dida.add_argument("--checkpoint", required=True, help="the trained model: nano, a folder or a hub id")
    dida.add_argument("--context", type=int, help="tokens a row (default: the model's context)")
    dida.add_argument(
        "--passes", type=int, default=DidaConfig.steps,
        help="passes a picture that the checkpoint then decodes with (default: %(default)s)",
    )  # fmt: skip
    for name in ("c", "alpha", "shift"):
        dida.add_argument(
            f"--{name}", type=float, default=getattr(PathConfig, name),
            help="of the path from noise to pictures: model/metric_path.py (default: %(default)s)",
        )  # fmt: skip
    grpo = stages.add_parser("grpo", help="let a trained model learn from the simulator's rewards")
    train_grpo.add_arguments(grpo)


def run(args: argparse.Namespace) -> int:
    """Train one stage; 0 when it is done, 1 when a process ended, 2 for wrong arguments or data."""
    torch.set_float32_matmul_precision("high")
    stages = {"tokenizer": train_vision, "lm": train_lm, "dida": train_dida, "grpo": train_grpo.train}
    try:
        return stages[args.stage](args)
    except ValueError as error:
        print(f"emu-planner train: {error}")
        return 2
    except CodersError as error:
        print(f"emu-planner train: {error}")
        return 1
    except BrokenProcessPool:
        print(
            "emu-planner train: a process of the simulator ended (see above); fewer --workers may help, and "
            "the run goes on where it was saved"
        )
        return 1


def train_vision(args: argparse.Namespace) -> int:
    """Train the vision tokenizer into OUT/checkpoint/vision_tokenizer."""
    insist_on_one_process("tokenizer")
    config = TokenizerTraining(**settings(TokenizerTraining, args))
    train_tokenizer(config, SIZES[args.size], device(args))
    print(f"tokenizer in {config.out / 'checkpoint'}")
    return 0


def train_lm(args: argparse.Namespace) -> int:
    """Train the language model into OUT/checkpoint: a folder that `serve --checkpoint` takes."""
    samples = SampleConfig(
        opening_share=args.openings,
        caption_share=args.captions,
        history_share=args.history,
        visual_weight=args.visual_weight,
        seed=args.seed,
    )
    if not 0 <= args.lesson_share <= 1:
        raise ValueError(f"--lesson-share is {args.lesson_share}; expected 0 to 1")
    source = resolve(args.init) if args.init else None
    tokenizer = resolve(args.tokenizer) if args.tokenizer else source
    if tokenizer is None:
        raise ValueError("name the vision tokenizer with --tokenizer, or a model to begin with with --init")
    out = args.out / "checkpoint"
    with together(args) as team:
        vision = load_vision_tokenizer(tokenizer, device=device(args)).eval()
        here = team.rank == 0
        with train_pools.both(args, tokenizer, vision, codes_here=here) as (pool, lessons):
            if source is None:
                more = [text for lesson in lessons.episodes() for text in lesson.texts] if lessons else []
                history = _HISTORY if args.history else 0
                text = led(
                    team, out, partial(prepare_checkpoint, out, pool.episodes(), vision, history, more)
                )
                size = language_size(
                    args.width, args.layers, vocabulary=text.vocabulary.size, context=args.context
                )
                model = Transformer(size)
                model.initialise(args.seed)
            else:
                model = load_learner(source).train()
                config = PlannerConfig.from_folder(source)
                if args.history and not config.history:
                    config = replace(config, history=_HISTORY)
                text = led(team, out, partial(copy_checkpoint, source, out, vision, config))
            _learn(args, model, pool, text, samples, lessons=lessons, team=team)
    return 0


def train_dida(args: argparse.Namespace) -> int:
    """Adapt a trained checkpoint to the dida decoder, into OUT/checkpoint; raster works there as before."""
    source = resolve(args.checkpoint)
    path = PathConfig(args.c, args.alpha, args.shift)
    config = replace(
        PlannerConfig.from_folder(source), decoder="dida", dida=DidaConfig(steps=args.passes, path=path)
    )
    out = args.out / "checkpoint"
    with together(args) as team:
        vision = load_vision_tokenizer(source, device=device(args)).eval()
        model = load_learner(source).train()
        args.context = args.context or model.config.max_position_embeddings
        with train_pools.episodes(args, source, vision, codes_here=team.rank == 0) as pool:
            text = led(team, out, partial(copy_checkpoint, source, out, vision, config))
            noise = MetricPath(vision.codes, path)
            _learn(args, model, pool, text, SampleConfig(seed=args.seed), noise, team=team)
    return 0


def _learn(
    args: argparse.Namespace,
    model: Transformer,
    pool: EpisodePool,
    text: TextTokenizer,
    config: SampleConfig,
    path: MetricPath | None = None,
    lessons: LessonPool | None = None,
    *,
    team: Team,
) -> None:
    """Train a language model on the episodes; with a path, on noisy copies of their pictures too."""
    target, v, out = device(args), text.vocabulary, args.out / "checkpoint"
    if args.rows is None and target.type == "cpu":
        args.rows = 2  # the dense mask and the logits of 16 rows take 18 GB
    held_out = [make_sample(e, i % len(e.subgoals), text) for i, e in enumerate(pool.held_out[:_CHECKED])]
    # the processes of a team draw alike, and each takes its part
    seed = config.seed + _NEXT_RANK * team.rank
    config = replace(config, seed=seed)
    drawn = islice(draws(pool), team.rank, None, team.size)
    samples: Iterator[Sample] = endless_samples(drawn, text, config)
    if lessons is not None:
        lessons_drawn = islice(draws(lessons), team.rank, None, team.size)
        fit = endless_lesson_samples(lessons_drawn, text, config, context=args.context)
        samples = mixed(samples, fit, args.lesson_share, seed)
        held_out += [make_lesson_sample(e, text, context=args.context) for e in lessons.held_out[:_CHECKED]]
    if path is not None:
        samples = with_copies(samples, v, context=args.context, seed=seed)
        held_out = list(with_copies(held_out, v, context=args.context))
    print(f"vocabulary {v.size}")
    train_language(
        LanguageTraining(**settings(LanguageTraining, args)),
        model,
        samples,
        held_out,
        pad=v.pad,
        first_visual=v.first_visual,
        device=target,
        save=saver(out),
        noise=None if path is None else CopyNoise(path, v.first_visual),
        team=team,
    )
    print(f"checkpoint in {out}")


def prepare_checkpoint(
    out: Path, episodes: list[CodedEpisode], vision: VisionTokenizer, history: int, more: Sequence[str] = ()
) -> TextTokenizer:
    """Write everything of a checkpoint but the language model; a run that goes on keeps its words."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "emu3.tiktoken").exists():
        texts = [text for e in episodes for text in (e.instruction, *e.subgoals, *e.captions)]
        write_folder(out, train_bpe([*texts, *more, *_TEMPLATE_WORDS], _MERGES), vision.config.n_embed)
    save_vision_tokenizer(vision, out, dtype=torch.bfloat16)
    height, width = (side * vision.config.downsampling for side in episodes[0].grids.shape[1:])
    PlannerConfig(
        views=VIEWS,
        picture_width=width,
        picture_height=height,
        text=Sampling(temperature=0.0),
        image=Sampling(temperature=0.0),
        guidance_scale=1.0,
        decoder="jacobi",
        max_subgoal_tokens=48,
        history=history,
    ).save(out)
    return TextTokenizer.from_folder(out)


def language_size(width: int, layers: int, *, vocabulary: int, context: int) -> TransformerConfig:
    """A language model of that width: heads of 64, a third or half as many for keys, SwiGLU at 8/3."""
    heads = width // 64
    return TransformerConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(k for k in (1, 2, 3) if heads % k == 0),
        head_dim=64,
        max_position_embeddings=context,
    )


# the fixed words of all tasks' prompts, so that they get tokens of their own
_TEMPLATE_WORDS = [
    f"You are a helpful assistant for {task} task. USER: ASSISTANT: "
    for task in ("t2i", "x2i", "howto", "story", "explore", "vla")
] * 100


def _common(parser: argparse.ArgumentParser, *, steps: int, rate: float) -> None:
    """What the trainings on recorded episodes have in common."""
    parser.add_argument("--data", type=Path, required=True, help="folder of episodes (data sim)")
    add_run_arguments(parser, steps=steps)
    parser.add_argument("--rate", type=float, default=rate, help="peak learning rate")


def _language(parser: argparse.ArgumentParser, *, steps: int, rate: float) -> None:
    """What the trainings of the language model have in common."""
    _common(parser, steps=steps, rate=rate)
    parser.add_argument(
        "--rows", type=int, help="rows a step, of all processes together (default: 16 on a GPU, 2 on a CPU)"
    )
    parser.add_argument(
        "--parallel", choices=WAYS, default=WAYS[0],
        help="under torchrun: each process holds the whole model, or, with --optimiser adamw, a part of it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--optimiser", choices=("muon", "adamw"), default=LanguageTraining.optimiser)
    parser.add_argument("--warm-up", type=int, default=LanguageTraining.warm_up, help="steps")
    train_pools.add_arguments(parser)
