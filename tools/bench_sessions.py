"""Many robots on one model: tokens a second together, beside one after another in the same run.

    python tools/bench_sessions.py                              random weights of nano's size, float32
    python tools/bench_sessions.py --dtype bfloat16             packed, as nano runs
    python tools/bench_sessions.py --sessions 1 16 --tokens 300
    python tools/bench_sessions.py --layouts                    why a session's memory is contiguous

Each session reads a prompt with a picture of 12*24 codes and writes the next picture, guided: two rows.
CPU seconds are of the whole process, so that other programs disturb them little; one thread computes.
"equal" counts sessions whose tokens are those that they have alone.
"""

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from emu_planner.engine.branches import Branches
from emu_planner.engine.grammar import Grammar
from emu_planner.engine.prepack import prepack
from emu_planner.engine.raster import Decoding, Draft, Token, generate
from emu_planner.engine.sampler import Sampler, Sampling
from emu_planner.engine.scheduler import Scheduler, SchedulerConfig
from emu_planner.model.prompt import unconditional_prompt, vla_prompt
from emu_planner.model.text import TextTokenizer, train_bpe
from emu_planner.model.transformer import Transformer, TransformerConfig, attention

GRID, CODES, CONTEXT = (12, 24), 8192, 1024
DECODING = Decoding(Sampling(), Sampling(top_k=2048), 3.0)
# reads a prompt and yields its tokens
Run = Callable[[int], Iterator[Token]]


@dataclass(frozen=True)
class Timed:
    """Seconds, and the tokens of each session."""

    wall_s: float
    cpu_s: float
    tokens: dict[int, list[int]]


class Bench:
    """A random model and its two ways to run sessions.

    Args:
        width, layers: of the model.
        dtype: of its weights.
        sessions: most at once.
        tokens: of each session.
    """

    def __init__(self, width: int, layers: int, dtype: torch.dtype, sessions: int, tokens: int) -> None:
        self._tokenizer = TextTokenizer(train_bpe(["stack the red block on the blue block"] * 3, 30), CODES)
        heads = width // 64
        self.model = Transformer(
            TransformerConfig(
                vocab_size=self._tokenizer.vocabulary.size,
                hidden_size=width,
                intermediate_size=width * 8 // 3 // 64 * 64,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=max(k for k in (1, 2, 3) if heads % k == 0),
                head_dim=64,
            )
        )
        self.model.initialise(0)
        self.model.eval().to(dtype)
        prepack(self.model)
        self.scheduler = Scheduler(self.model, SchedulerConfig(cells=sessions * 2 * CONTEXT, prefix_tokens=0))
        self._tokens = tokens

    def alone(self, number: int) -> Iterator[Token]:
        """A session with a cache of its own."""
        return self._start(number, generate, lambda **rows: Branches(self.model, **rows))

    def shared(self, number: int) -> Iterator[Token]:
        """A session of the scheduler."""
        return self._start(number, self.scheduler.generate, self.scheduler.branches)

    def _start(
        self, number: int, decode: Callable[..., Iterator[Token | Draft]], branches: Callable[..., object]
    ) -> Iterator[Token]:
        v = self._tokenizer.vocabulary
        grid = np.random.default_rng(number).integers(0, CODES, GRID)
        tokens = decode(
            branches(capacity=CONTEXT, unconditional=unconditional_prompt(self._tokenizer, [grid])),
            Grammar(v, GRID),
            Sampler(number),
            DECODING,
            [*vla_prompt(self._tokenizer, f"stack block {number}", [grid]), v.boi],
            boi=v.boi,
        )
        return itertools.islice((token for token in tokens if isinstance(token, Token)), self._tokens)


def one_after_another(run: Run, sessions: int) -> Timed:
    """Each session when the one before has ended."""
    found = {}
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for number in range(sessions):
        found[number] = [token.id for token in run(number)]
    return Timed(time.perf_counter() - wall_s, time.process_time() - cpu_s, found)


def at_once(run: Run, sessions: int) -> Timed:
    """Each session in a thread of its own."""
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        found[number] = [token.id for token in run(number)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(sessions)]
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Timed(time.perf_counter() - wall_s, time.process_time() - cpu_s, found)


def compare_layouts(layers: int, dtype: torch.dtype, sessions: int, tokens: int, console: Console) -> None:
    """Attention of one pass, two rows a session: on views, and on pages of 16 tokens gathered first."""
    rows, heads, kv_heads, size, page = 2 * sessions, 8, 2, 64, 16
    pages = -(-tokens // page)
    queries = torch.randn(rows, heads, 1, size, dtype=dtype)
    keys = torch.randn(rows, kv_heads, size, CONTEXT, dtype=dtype).transpose(2, 3)
    values = torch.randn(rows, kv_heads, CONTEXT, size, dtype=dtype)
    # heads outermost: what is gathered needs no second copy, with heads for rows and rows for heads
    pool = torch.randn(kv_heads, rows * CONTEXT // page, page * size, dtype=dtype)
    table = torch.randperm(pool.shape[1], generator=torch.Generator().manual_seed(0))[: rows * pages]
    turned = torch.randn(kv_heads, rows * heads // kv_heads, 1, size, dtype=dtype)
    mask = torch.zeros(1, 1, 1, tokens)

    def views() -> None:
        for row in range(0, rows, 2):
            pair = slice(row, row + 2)
            attention(queries[pair], keys[pair, :, :tokens], values[pair, :, :tokens], mask)

    def gathered() -> None:
        k, v = (pool.index_select(1, table).view(kv_heads, rows, pages * page, size) for _ in range(2))
        attention(turned, k[:, :, :tokens], v[:, :, :tokens], mask)

    found: dict[str, list[float]] = {"views": [], "gathered pages": []}
    with torch.inference_mode():
        for _ in range(12):
            for name, work in (("views", views), ("gathered pages", gathered)):
                begun_s = time.process_time()
                for _ in range(layers):
                    work()
                found[name].append(1e3 * (time.process_time() - begun_s))
    for name, times in found.items():
        median, best = statistics.median(times[2:]), min(times[2:])
        console.print(f"{name}: {median:.1f} ms of a pass for {sessions} sessions (best {best:.1f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--tokens", type=int, default=120, help="of each session (default: %(default)s)")
    parser.add_argument("--width", type=int, default=512, help="of the model (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="of the model (default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--layouts", action="store_true", help="compare two layouts of keys and values")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.layouts:
        compare_layouts(args.layers, getattr(torch, args.dtype), max(args.sessions), 600, Console())
        return
    process = psutil.Process()
    most = max(args.sessions)
    bench = Bench(args.width, args.layers, getattr(torch, args.dtype), most, args.tokens)
    for run in (bench.alone, bench.shared):  # the first session pays for what torch sets up
        one_after_another(run, 1)
    table = Table(
        "sessions", "one after another", "at once", "ratio, CPU time", "ratio, wall time", "equal", "passes",
        title=f"tokens a CPU second, {args.dtype}, {args.tokens} tokens each",
    )  # fmt: skip
    resident = []
    for sessions in args.sessions:
        before = bench.scheduler.batcher.passes
        turns, together = one_after_another(bench.alone, sessions), at_once(bench.shared, sessions)
        count = sessions * args.tokens
        equal = sum(turns.tokens[number] == together.tokens[number] for number in range(sessions))
        table.add_row(
            str(sessions),
            f"{count / turns.cpu_s:.0f}",
            f"{count / together.cpu_s:.0f}",
            f"{turns.cpu_s / together.cpu_s:.2f}",
            f"{turns.wall_s / together.wall_s:.2f}",
            f"{equal} of {sessions}",
            str(bench.scheduler.batcher.passes - before),
        )
        resident.append(f"{process.memory_info().rss / 1e6:.0f}")
    console = Console()
    console.print(table)
    arena = bench.scheduler.batcher.arena
    console.print(
        f"{args.width} wide, {args.layers} layers; "
        f"memory for {most} sessions of {CONTEXT} tokens and two rows: {arena.nbytes / 1e6:.0f} MB, taken at "
        f"the start; resident after each line, MB: {', '.join(resident)}"
    )


if __name__ == "__main__":
    main()
