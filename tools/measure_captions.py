"""How well a checkpoint sees: its captions of held-out scenes beside what stands there.

    python -m tools.measure_captions --checkpoint nano --scenes 60

Asks for the caption that `train lm --captions` teaches (model/prompt.py) of each scene's first picture, and
counts things by what was said of them: all right, another kind (block for cylinder), another place, or not
named at all. Intervals are 95%, by Wilson. Where the kinds are wrong, look at the vision tokenizer first.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from emu_planner.engine import picture, raster
from emu_planner.engine.branches import Branches
from emu_planner.engine.config import PlannerConfig
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.loaded import LoadedParts, load_parts
from emu_planner.engine.raster import Decoding, Draft
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.model.checkpoint import resolve
from emu_planner.model.prompt import Grid, describe_prompt
from sim import language
from sim.bench.suite import read_suite
from sim.statistics import wilson
from sim.world import World

VERDICTS = ("right", "another kind", "another place", "not named")
_GREEDY = Decoding(Sampling(temperature=0.0), Sampling(temperature=0.0), 1.0)
_MOST_TOKENS = 400


def caption(parts: LoadedParts, grid: Grid, context: int) -> str:
    """What the model says of a picture of codes [h, w]."""
    model, tokenizer = parts.model, parts.tokenizer
    vocabulary = tokenizer.vocabulary
    said: list[int] = []
    tokens = raster.generate(
        Branches(model, capacity=context),
        Grammar(vocabulary, grid.shape),
        Sampler(0, model.lm_head.weight.device),
        _GREEDY,
        describe_prompt(tokenizer, [grid]),
        boi=vocabulary.boi,
        ends=(vocabulary.ess, vocabulary.eos),
        stopped=lambda: len(said) >= _MOST_TOKENS,
    )
    for token in tokens:
        if isinstance(token, Draft) or not vocabulary.is_text(token.id):
            break
        said.append(token.id)
    tokens.close()
    return tokenizer.decode(said)


def judge(said: str, true: str) -> Counter[str]:
    """How many things of a true caption were said right, and how else.

    A thing is "the COLOUR KIND PLACE": a phrase that is not said as it is counts as another kind when its
    colour and place were said of something that is not there, as another place when its name was.
    """
    there, told = true.split(", "), said.split(", ")
    extra = [phrase for phrase in told if phrase not in there]
    verdicts: Counter[str] = Counter()
    for phrase in there:
        if phrase in told:
            verdicts["right"] += 1
            continue
        _, colour, kind, *place = phrase.split(" ")
        rest = [words.split(" ") for words in extra]
        if any(words[1:2] == [colour] and words[3:] == place for words in rest):
            verdicts["another kind"] += 1
        elif any(words[1:3] == [colour, kind] for words in rest):
            verdicts["another place"] += 1
        else:
            verdicts["not named"] += 1
    return verdicts


def measure(checkpoint: str, suite: str, scenes: int | None, console: Console) -> dict[str, Counter[str]]:
    """Verdicts by family."""
    folder = resolve(checkpoint)
    config = PlannerConfig.from_folder(folder)
    parts = load_parts(folder)
    context = config.context or parts.model.config.max_position_embeddings
    found: dict[str, Counter[str]] = {}
    with World() as world:
        for scene in track(read_suite(suite).first(scenes).scenes, console=console):
            world.reset(scene.family, scene.seed, scene.robot)
            rgb = picture.compose(
                world.observation(), config.views, config.picture_width, config.picture_height
            )
            said = caption(parts, picture.encode(parts.vision, rgb), context)
            found.setdefault(scene.family, Counter()).update(judge(said, language.describe(world.state())))
    return found


def table(rows: Iterable[tuple[str, Counter[str]]]) -> Table:
    """A row a family."""
    made = Table("family", "things", *VERDICTS)
    for name, verdicts in rows:
        count = verdicts.total()
        low, high = wilson(verdicts["right"], count)
        right = f"{100 * verdicts['right'] / count:.1f}% ({100 * low:.0f} to {100 * high:.0f})"
        made.add_row(name, str(count), right, *(str(verdicts[verdict]) for verdict in VERDICTS[1:]))
    return made


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="(default: %(default)s)")
    parser.add_argument("--suite", default="quick", help="of scenes to look at (default: %(default)s)")
    parser.add_argument("--scenes", type=int, help="only the suite's first N")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of the model (default: %(default)s)"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    found = measure(args.checkpoint, args.suite, args.scenes, console)
    console.print(table([*found.items(), ("all", sum(found.values(), Counter()))]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
