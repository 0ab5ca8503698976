"""Memory and time of loading a checkpoint, beside the naive way: `python tools/measure_load.py`.

Writes a random model in the published layout, then loads it in fresh processes, in turns: as this package
does, and naively (all shards into one state dictionary, which is copied into a model that is in memory
already). Peak memory is the kernel's high-water mark of the process, files that it maps included, from
after the imports on. The files have just been written: where they fit in memory, no disk is measured.
Needs requirements/dev.txt. With --folder the model stays, for tools/measure_tasks.py.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from emu_planner.model import tensor_files, tensor_io
from emu_planner.model.blank import blank
from emu_planner.model.checkpoint import load_transformer, stored_bytes
from emu_planner.model.config_files import read_transformer_config, write_transformer_config
from emu_planner.model.transformer import Transformer, TransformerConfig

WAYS = ("ours", "naive")
_VOCABULARY = 282926
_HEAD_DIM, _KV_HEADS = 128, 8


def config_of(hidden: int, layers: int, vocabulary: int = _VOCABULARY) -> TransformerConfig:
    """A model of the published proportions; hidden 5120 and 64 layers: the published one."""
    heads = max(1, round(hidden / 80 / _KV_HEADS)) * _KV_HEADS
    return TransformerConfig(
        vocabulary, hidden, 5 * hidden, layers, heads, _KV_HEADS, _HEAD_DIM, rms_norm_eps=1e-5
    )


def prepare(folder: Path, config: TransformerConfig, shard_bytes: int) -> bool:
    """Write the model of `config` into a folder unless it is there; whether it was written now.

    Raises:
        SystemExit: a model of another size is there, or the disk has no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (tensor_files.has_tensors(folder) and (folder / "config.json").is_file()):
        write_model(folder, config, shard_bytes)
        return True
    there = read_transformer_config(folder)
    sizes = [(one.vocab_size, one.hidden_size, one.num_hidden_layers) for one in (there, config)]
    if sizes[0] != sizes[1]:
        raise SystemExit(
            f"{folder} holds a model of (vocabulary, hidden, layers) {sizes[0]}, asked for is {sizes[1]}; "
            "name another folder, or give its sizes"
        )
    return False


def write_model(folder: Path, config: TransformerConfig, shard_bytes: int) -> int:
    """Write random tensors in bfloat16, drawn while others are written; returns their bytes.

    Drawn on a GPU where there is one, else on several cores. Normal(0, 0.02), norms 1; the numbers of a
    CPU and of a GPU differ.
    """
    with blank():
        shapes = {name: list(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
    size = 2 * sum(torch.Size(shape).numel() for shape in shapes.values())
    free = shutil.disk_usage(folder).free
    if size * 1.05 > free:
        raise SystemExit(f"the model takes {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")
    on_gpu = torch.cuda.is_available()
    drawing = torch.device("cuda" if on_gpu else "cpu")
    tensors = _drawn(shapes, drawing, 2 if on_gpu else min(8, os.cpu_count() or 1))
    names = iter(track(shapes, "writing", console=Console(stderr=True)))

    def make(name: str) -> Tensor:
        assert next(names) == name
        return next(tensors)

    tensor_io.write(folder, shapes, lambda _: torch.bfloat16, make, shard_bytes)
    next(names, None)
    if on_gpu:
        torch.cuda.empty_cache()  # another process may load next
    write_transformer_config(config, folder, "bfloat16")
    return size


def _drawn(shapes: dict[str, list[int]], device: torch.device, workers: int) -> Iterator[Tensor]:
    """The tensors on the CPU, in order; up to `workers` are drawn ahead."""

    def draw(seed: int, shape: list[int]) -> Tensor:
        if len(shape) == 1:
            return torch.ones(shape, dtype=torch.bfloat16)
        # one generator each: no order of the threads can change a number
        chance = torch.Generator(device).manual_seed(seed)
        return (
            torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(std=0.02, generator=chance).cpu()
        )

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Tensor]] = deque()
        for seed, shape in enumerate(shapes.values()):
            waiting.append(pool.submit(draw, seed, shape))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def load_naively(folder: Path, device: str) -> Transformer:
    """What one would write first."""
    from safetensors.torch import load_file

    with blank():
        model = Transformer(read_transformer_config(folder))
    model.to(torch.bfloat16).to_empty(device=device)
    tensors: dict[str, Tensor] = {}
    for path in sorted({stored.path for stored in tensor_files.find(folder).values()}):
        tensors |= load_file(path)
    model.load_state_dict(tensors)
    return model.eval()


def measure_here(way: str, folder: Path, device: str) -> dict[str, float]:
    """Load in this process: seconds, and peak memory in bytes beyond what the imports took."""
    import safetensors.torch  # noqa: F401 - so that both ways begin with the same imports

    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.zeros(1, device=device)  # the driver's own memory and time are of neither way
        torch.cuda.synchronize(device)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    begun_s = time.perf_counter()
    load = load_transformer if way == "ours" else load_naively
    model = load(folder, device=device)
    if on_gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begun_s
    peak = _memory("VmHWM") - before
    assert model.lm_head.weight[-1].isfinite().all()
    on_device = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    return {"seconds": seconds, "peak": peak, "imports": before, "on_device": on_device}


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(
    folder: Path, size: int, device: str, repeats: int, console: Console, ways: Sequence[str] = WAYS
) -> None:
    """Run the ways in turns and print them."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            words = [sys.executable, __file__, "--measure", way, "--folder", str(folder), "--device", device]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{way} ended with {done.returncode}: {done.stderr[-2000:]}")
            runs[way].append(json.loads(done.stdout))
    table = Table("", "peak memory, GB", "of the files", "seconds, median (min to max)")
    middle = {}
    for way in ways:
        peak = max(run["peak"] for run in runs[way])
        seconds = sorted(run["seconds"] for run in runs[way])
        middle[way] = (peak, seconds[len(seconds) // 2])
        times = f"{middle[way][1]:.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"
        table.add_row(way, f"{peak / 1e9:.2f}", f"{peak / size:.3f}", times)
    if len(ways) > 1:
        ratios = [naive / ours for naive, ours in zip(middle["naive"], middle["ours"], strict=True)]
        table.add_row("naive / ours", f"{ratios[0]:.2f}", "", f"{ratios[1]:.2f}")
    console.print(f"{size / 1e9:.2f} GB of tensors, {repeats} runs each on {device}")
    console.print(table)
    console.print(f"imports took {runs[ways[0]][0]['imports'] / 1e9:.2f} GB before, not counted above")
    if torch.device(device).type == "cuda":
        most = (f"{way} {max(run['on_device'] for run in runs[way]) / 1e9:.2f}" for way in ways)
        console.print(f"peak memory on the device, GB: {', '.join(most)}")


def main() -> None:
    """Write, measure, delete what nobody asked to keep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hidden", type=int, default=1536, help="width (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=16, help="layers (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=_VOCABULARY, help="ids (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="the published size: 34.1 B, 68 GB on disk")
    parser.add_argument("--shard-gb", type=float, default=1.0, help="size of a file (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="where to load (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="the model there, written first if it is not, and kept")
    parser.add_argument("--only", choices=WAYS, help="one way alone; naively, memory holds the model twice")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure_here(args.measure, args.folder, args.device)))
        return
    ways = (args.only,) if args.only else WAYS
    config = config_of(5120, 64) if args.full else config_of(args.hidden, args.layers, args.vocabulary)
    with tempfile.TemporaryDirectory(prefix="measure-load-") as temporary:
        folder = args.folder or Path(temporary)
        prepare(folder, config, int(args.shard_gb * 1e9))
        measure(folder, stored_bytes(folder), args.device, args.repeats, Console(), ways)


if __name__ == "__main__":
    main()
