r"""One short answer to each of the six tasks by a model of the published size with random weights.

    python -m tools.measure_tasks --folder out/random-34b --json tasks.json     34.1 B, one GPU of 80 GB
    python -m tools.measure_tasks --hidden 128 --layers 2 --vocabulary 2000 --codes 512 \
        --vision-channels 32 --device cpu                                         seconds, on a CPU

From the root of the repository. The checkpoint is written in the published layout, loaded and asked as
`emu-planner generate` does it, with the published settings of each task and its guidance; only the size
of the pictures (--image-area) and the length of the texts (--words) are chosen here.

Random weights would hardly ever open a picture or end: each is one id of 151,854. So the grammar of the
answer is narrowed (`Paced`): a text has --words tokens, each chosen by the model among all words, then the
one id that opens the next picture, and after the last picture the one that ends the answer. These two ids
cost a pass but no full output head; nothing else differs. Speed and memory are those of trained weights,
what is said and drawn is noise. A short answer that is not counted comes first, to warm up; on a GPU
passes are sent one by one, or with --graphs recorded, inside each task's time.

Without --tokenizer the vocabulary is made up, of as many ids as the model has. Knows no trained weights.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from emu_planner.engine import raster
from emu_planner.engine.decoders import Decoder, decoder_of
from emu_planner.engine.generator import SEED, Generator
from emu_planner.engine.grammar import Choice, Grammar, Phase
from emu_planner.engine.loaded import LoadedParts, load_parts
from emu_planner.engine.parts import Part, Picture, Progress
from emu_planner.engine.raster import Token
from emu_planner.engine.request import PIXELS_PER_TOKEN, SETTINGS, Request, RequestError
from emu_planner.model.checkpoint import VISION, CheckpointError, save_vision_tokenizer, stored_bytes
from emu_planner.model.ibq import VisionConfig, VisionTokenizer
from emu_planner.model.pixels import fit_area
from emu_planner.model.prompt import image_tokens
from emu_planner.model.spread import layer_devices
from emu_planner.model.text import write_folder
from emu_planner.model.transformer import Transformer
from emu_planner.model.vocabulary import SPECIALS, VISION_SPECIALS, Vocabulary
from tools.make_tiny_checkpoint import QUESTIONS
from tools.measure_load import config_of, prepare

# pictures of an answer, 1 where a task is not named; texts stand before each
PICTURES = {"howto": 2, "story": 2, "explore": 2, "vla": 2}
# tasks that are given a picture
LOOKING = ("x2i", "vla")
# tasks whose answer is the picture alone
WORDLESS = ("t2i", "x2i")


@dataclass(frozen=True)
class Plan:
    """What is asked of a task, and what must come."""

    request: Request
    # text tokens before each picture
    words: int
    pictures: int
    # of each picture, tokens
    size: tuple[int, int]


@dataclass(frozen=True)
class Run:
    """One answer, measured."""

    task: str
    # of words, and those that open a picture or end; codes; all, forced ones included
    text_tokens: int
    visual_tokens: int
    tokens: int
    # height and width of each picture, pixels
    pictures: list[tuple[int, int]]
    # from the request to the last part, pictures drawn
    seconds: float
    # until the first token: the reference picture's codes and the prompt
    first_s: float
    # of seconds, for each token of words and codes
    ms_a_token: float
    # a word after the first token; a code, guided, with the prompt that guidance contrasts with, read once;
    # None: there was none
    ms_a_text_token: float | None
    ms_a_code: float | None
    # bytes of tensors on the GPU, weights included; None: it ran on a CPU
    peak_bytes: int | None
    # what is wrong with the answer; empty: it is well-formed
    faults: list[str]


class Paced(Grammar):
    """The grammar with texts of a given length, a given number of pictures, and then the end."""

    def __init__(self, ids: Vocabulary, size: tuple[int, int], *, words: int, pictures: int) -> None:
        super().__init__(ids, size)
        self._ids, self._wanted, self._pictures = ids, words, pictures
        self._words = 0

    def choice(self) -> Choice:
        """As of Grammar; of a text one of the words, or the only id that may come next."""
        if self.phase is not Phase.TEXT:
            return super().choice()
        if self._words < self._wanted and self._pictures:
            return Choice(0, self._ids.first_special)
        only = self._ids.boi if self._pictures else self._ids.eos
        return Choice(only, only + 1)

    def advance(self, token: int) -> None:
        """As of Grammar."""
        text = self.phase is Phase.TEXT
        super().advance(token)
        self._words += text
        if text and token == self._ids.boi:
            self._words = 0
            self._pictures -= 1


class Timed:
    """A Decoder of one answer by `Paced`; keeps its tokens and their times."""

    def __init__(self, decoder: Decoder, ids: Vocabulary, plan: Plan) -> None:
        self._decoder, self._ids, self._plan = decoder, ids, plan
        self.branches = decoder.branches
        self.tokens: list[Token] = []
        # of each token: seconds from the one before, without what its reader did meanwhile
        self.seconds: list[float] = []
        # when the first came
        self.first_s = 0.0
        self.guided = False
        self.grammar_size: tuple[int, int] | None = None

    def generate(
        self, branches: Any, grammar: Grammar, sampler: Any, decoding: Any, prompt: Sequence[int], **rest: Any
    ) -> raster.Tokens:
        """As of the decoder, which does it."""
        plan = self._plan
        self.guided, self.grammar_size = branches.guided, grammar.size
        paced = Paced(self._ids, plan.size, words=plan.words, pictures=plan.pictures)
        begun_s = time.perf_counter()
        # each chosen token was copied from the device, so the clock needs no waiting for it; recorded
        # passes give some codes at once, so of these only sums count
        for token in self._decoder.generate(branches, paced, sampler, decoding, prompt, **rest):
            assert isinstance(token, Token)  # drafts come from an image step alone
            now_s = time.perf_counter()
            self.first_s = self.first_s or now_s
            self.tokens.append(token)
            self.seconds.append(now_s - begun_s)
            yield token
            begun_s = time.perf_counter()


def plan_of(task: str, vocabulary: Vocabulary, *, area: int, words: int, limit: int | None) -> Plan:
    """A short request with the published settings of a task.

    Args:
        task: one of SETTINGS.
        vocabulary: of the model.
        area: pixels of a picture, about.
        words: text tokens before each picture, where the task has texts.
        limit: max_new_tokens; None: as many as the answer takes.
    """
    words, pictures = (0 if task in WORDLESS else words), PICTURES.get(task, 1)
    settings = replace(SETTINGS[task], image_area=area)
    images: tuple[np.ndarray, ...] = ()
    side = math.isqrt(area)
    if task in LOOKING:
        images = (np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8),)
    elif settings.aspect_ratio == "auto":  # then the model would choose, up to 99*99
        settings = replace(settings, aspect_ratio="1:1")
    size = settings.target_size()
    if size is None:
        high, wide = fit_area(side, side, area, PIXELS_PER_TOKEN)
        size = high // PIXELS_PER_TOKEN, wide // PIXELS_PER_TOKEN
    # the words and the string of each picture, then EOS
    needed = pictures * (words + len(image_tokens(vocabulary, np.zeros(size, int)))) + 1
    settings = replace(settings, max_new_tokens=limit or needed)
    return Plan(Request(task, QUESTIONS[task], images, settings), words, pictures, size)


def measure(parts: LoadedParts, decoder: Decoder, plan: Plan, seed: int) -> Run:
    """Ask once."""
    cards = cards_of(parts.model)
    ids = parts.tokenizer.vocabulary
    timed = Timed(decoder, ids, plan)
    generator = Generator(*parts, scheduler=timed)
    for card in cards:
        torch.cuda.synchronize(card)
        torch.cuda.reset_peak_memory_stats(card)
    begun_s = time.perf_counter()
    answer = list(generator.generate(plan.request, seed=seed))
    for card in cards:
        torch.cuda.synchronize(card)
    seconds = time.perf_counter() - begun_s
    is_code = [token.id >= ids.first_visual for token in timed.tokens]
    kinds = Counter(
        "code" if code else token.phase for code, token in zip(is_code, timed.tokens, strict=True)
    )
    text = kinds[Phase.TEXT]
    chosen = text + kinds["code"]
    pairs = list(zip(timed.tokens, timed.seconds, strict=True))
    words_s = [spent for token, spent in pairs[1:] if ids.is_text(token.id) and token.phase is Phase.TEXT]
    # forced tokens cost no pass; the few moments between them belong to the codes
    image_s = sum(spent for token, spent in pairs if token.phase is not Phase.TEXT)
    return Run(
        task=plan.request.task,
        text_tokens=text,
        visual_tokens=kinds["code"],
        tokens=len(timed.tokens),
        pictures=[part.rgb.shape[:2] for part in answer if isinstance(part, Picture)],
        seconds=seconds,
        first_s=timed.first_s - begun_s,
        ms_a_token=1e3 * seconds / max(chosen, 1),
        ms_a_text_token=1e3 * sum(words_s) / len(words_s) if words_s else None,
        ms_a_code=1e3 * image_s / kinds["code"] if kinds["code"] else None,
        peak_bytes=sum(map(torch.cuda.max_memory_allocated, cards)) if cards else None,
        faults=faults_of(answer, timed, plan, ids),
    )


def cards_of(model: Transformer) -> list[torch.device]:
    """The GPUs that hold a part of the model."""
    devices = dict.fromkeys(parameter.device for parameter in model.parameters())
    return [device for device in devices if device.type == "cuda"]


def faults_of(answer: Sequence[Part], timed: Timed, plan: Plan, ids: Vocabulary) -> list[str]:
    """What is wrong with an answer, in words."""
    faults = []
    pictures = [part for part in answer if isinstance(part, Picture)]
    texts = [part for part in answer if not isinstance(part, (Picture, Progress))]
    shape = (*(PIXELS_PER_TOKEN * side for side in plan.size), 3)
    if not timed.guided:
        faults.append("without guidance")
    if timed.grammar_size != plan.size:
        faults.append(f"the size was to be {timed.grammar_size}, not {plan.size}")
    if not timed.tokens or timed.tokens[-1].id != ids.eos:
        faults.append("cut")
    if len(pictures) != plan.pictures:
        faults.append(f"{len(pictures)} pictures of {plan.pictures}")
    if len(texts) != (plan.pictures if plan.words else 0):
        faults.append(f"{len(texts)} texts")
    for picture in pictures:
        if picture.grid.shape != plan.size or picture.rgb.shape != shape:
            faults.append(f"a picture of {picture.grid.shape} codes, {picture.rgb.shape} px")
        # numbers that are no numbers would give the same code, or colour, everywhere
        if len(np.unique(picture.grid)) < 2 or picture.rgb.min() == picture.rgb.max():
            faults.append("a blank picture")
    return faults


def prepare_all(folder: Path, args: argparse.Namespace) -> None:
    """Write what the folder lacks: language model, vision tokenizer, vocabulary. SystemExit: wrong sizes."""
    ranks = args.vocabulary - args.codes - len(SPECIALS) - len(VISION_SPECIALS)
    if ranks < 256 or args.codes < 1:
        raise SystemExit(
            f"a vocabulary of {args.vocabulary} with {args.codes} codes leaves {ranks} words; at least 256"
        )
    prepare(folder, config_of(args.hidden, args.layers, args.vocabulary), int(args.shard_gb * 1e9))
    if not (folder / VISION / "config.json").is_file():
        torch.manual_seed(0)
        with torch.device(args.device.split(",")[0]):
            vision = VisionTokenizer(VisionConfig(ch=args.vision_channels, n_embed=args.codes))
        save_vision_tokenizer(vision, folder)
        del vision
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if args.tokenizer is None and not list(folder.glob("*.tiktoken")):
        words = [bytes([byte]) for byte in range(256)] + [b" w%d" % index for index in range(256, ranks)]
        write_folder(folder, {word: rank for rank, word in enumerate(words)}, args.codes)


def run_all(folder: Path, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Prepare, load and ask; what goes into the JSON file."""
    devices = args.device.split(",")
    cards = [torch.device(name) for name in devices if name.startswith("cuda")]
    begun_s = time.perf_counter()
    prepare_all(folder, args)
    written_s = time.perf_counter() - begun_s
    for card in cards:
        torch.zeros(1, device=card)  # the driver's start is no loading
        torch.cuda.synchronize(card)
    begun_s = time.perf_counter()
    parts = load_parts(folder, tokenizer=args.tokenizer, device=devices)
    for card in cards:
        torch.cuda.synchronize(card)
    load_s = time.perf_counter() - begun_s
    bytes_stored = stored_bytes(folder)
    facts: dict[str, Any] = {
        "device": ", ".join(map(torch.cuda.get_device_name, cards)) or "cpu",
        "layers_on": dict(Counter(str(device) for device in layer_devices(parts.model))),
        "torch": torch.__version__,
        "hidden": parts.model.config.hidden_size,
        "layers": parts.model.config.num_hidden_layers,
        "vocabulary": parts.model.config.vocab_size,
        "codes": parts.vision.config.n_embed,
        "bytes": bytes_stored,
        "prepare_s": written_s,
        "load_s": load_s,
    }
    console.print(
        f"{bytes_stored / 1e9:.2f} GB of language model on {facts['device']}, torch {torch.__version__}: "
        f"prepared in {written_s:.1f} s, loaded in {load_s:.1f} s"
    )
    vocabulary = parts.tokenizer.vocabulary
    decoder = decoder_of(parts.model, graphs=args.graphs)
    warm = plan_of("vla", vocabulary, area=4096, words=2, limit=None)
    measure(parts, decoder, replace(warm, pictures=1), args.seed)
    runs = []
    for task in args.tasks:
        plan = plan_of(task, vocabulary, area=args.image_area, words=args.words, limit=args.max_new_tokens)
        runs.append(measure(parts, decoder, plan, args.seed))
        console.print(f"{task}: {runs[-1].seconds:.2f} s {'; '.join(runs[-1].faults)}")
    return {**facts, "tasks": [asdict(run) for run in runs]}


def show(result: dict[str, Any], console: Console) -> None:
    """The table of all tasks."""
    heads = ["text", "visual", "pictures", "s", "first, s", "ms a token", "a word", "a code", "peak GB"]
    table = Table("task", *heads, "well-formed")

    def number(value: float | None, scale: float = 1.0) -> str:
        return "-" if value is None else f"{value / scale:.2f}"

    for run in result["tasks"]:
        sizes = Counter(f"{width}x{height}" for height, width in run["pictures"])
        pictures = ", ".join(f"{count} of {size}" for size, count in sizes.items())
        counts = (str(run["text_tokens"]), str(run["visual_tokens"]), pictures)
        times = [number(run[name]) for name in ("seconds", "first_s", "ms_a_token", "ms_a_text_token")]
        times += [number(run["ms_a_code"]), number(run["peak_bytes"], 1e9)]
        verdict = "; ".join(run["faults"]) or "yes"
        table.add_row(run["task"], *counts, *times, verdict)
    console.print(table)


def read_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--hidden", type=int, default=5120, help="width (default: %(default)s)")
    add("--layers", type=int, default=64, help="layers (default: %(default)s)")
    add("--vocabulary", type=int, default=282926, help="ids (default: %(default)s)")
    add("--codes", type=int, default=131072, help="visual codes among them (default: %(default)s)")
    add("--vision-channels", type=int, default=256, help="of the vision tokenizer (default: %(default)s)")
    add("--folder", type=Path, help="the checkpoint there; what it lacks is written first, and kept")
    add("--shard-gb", type=float, default=1.0, help="size of a file (default: %(default)s)")
    add("--tokenizer", type=Path, help="text tokenizer's files (default: those of the folder, or made up)")
    add("--graphs", action="store_true", help="recorded passes on a GPU")
    add(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="or several, by commas, over which the layers are spread (default: %(default)s)",
    )
    add("--threads", type=int, default=1, help="CPU threads of the model (default: %(default)s)")
    add("--tasks", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="(default: all)")
    add("--words", type=int, default=16, help="text tokens before a picture (default: %(default)s)")
    add("--image-area", type=int, default=256 * 256, help="pixels of a picture (default: %(default)s)")
    add("--max-new-tokens", type=int, help="of each answer (default: what it takes)")
    add("--seed", type=int, default=SEED, help="(default: %(default)s)")
    add("--json", type=Path, help="write the figures there too")
    return parser.parse_args(words)


def main() -> int:
    """Measure; 1: an answer was not well-formed."""
    args = read_arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="measure-tasks-") as temporary:
        try:
            result = run_all(args.folder or Path(temporary), args, console)
        except (CheckpointError, RequestError) as error:
            raise SystemExit(str(error)) from error
    show(result, console)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(any(run["faults"] for run in result["tasks"]))


if __name__ == "__main__":
    raise SystemExit(main())
